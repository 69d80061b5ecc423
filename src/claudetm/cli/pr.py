"""`claudetm pr`: the run's pull requests, and what their checks said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudetm.adapters.forge.looking import Seen
    from claudetm.cli.pulls import Looked


def command(
    number: str | None = typer.Argument(
        None, help="One pull request; all of them without it.", metavar="N", show_default=False
    ),
    which: str | None = typer.Argument(
        None, help="With --logs: the log of this check alone.", metavar="CHECK", show_default=False
    ),
    logs: bool = typer.Option(
        False, "--logs", help="Show the logs of the failed checks, as the fixer gets them, or of the last ones."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print them as JSON."),
) -> None:
    """Show the pull requests: stage, checks, reviews, and why one is not merged yet."""
    from claudetm.cli.pulls import look, print_json, pull_data
    from claudetm.errors import UsageError

    only, check = _meant(number, which)
    if check and not logs:
        raise UsageError(f"{check} is no pull request's number; for a check's log: `claudetm pr --logs CHECK`")
    looked = look(only, silent=as_json)
    shown = [looked.find(only)] if only is not None else list(looked.pulls)
    if check:
        shown = _with_check(shown, check)
    if as_json:
        rows = [pull_data(looked, s) | ({"logs": _logs(looked, s, check)} if logs else {}) for s in shown]
        print_json(rows if only is None else rows[0])
        return
    if not shown:
        print("No pull request was opened yet.")
    for seen in shown:
        if not check:
            show(looked, seen)
        if logs:
            show_logs(looked, seen, check)
    if not check:
        tell_present(looked, shown)


def tell_present(looked: Looked, shown: Sequence[Seen]) -> None:
    """Print what the driver waits for, unless that is said of a pull request already."""
    from claudetm.cli.pulls import Awaits, awaits, tell_awaited

    told = [a.why for s in shown if (a := awaits(looked, s))]
    if (held := looked.present) and not any(held.why in why for why in told):
        tell_awaited(Awaits(f"the driver, which waits: {held.why}", until=held.until))


def _meant(number: str | None, which: str | None) -> tuple[int | None, str]:
    """Return the pull request and the check that are meant, None and "" for all of them. Raises UsageError.

    `--logs` takes the name of a check without being told which pull request, too.
    """
    from claudetm.errors import UsageError

    if number is None:
        return None, ""
    if (first := _number(number)) is not None:
        return first, which or ""
    if which is None:
        return None, number
    if (second := _number(which)) is not None:  # claudetm pr --logs CHECK N
        return second, number
    raise UsageError(f"{number} is no pull request's number; quote a check's name that has spaces")


def _number(word: str | None) -> int | None:
    """Return the pull request's number that a word is, or None."""
    plain = (word or "").removeprefix("#")
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < _DIGITS else None


_DIGITS = 10


def _with_check(shown: list[Seen], check: str) -> list[Seen]:
    """Return the pull requests that have the check. Raises UsageError where none has."""
    from claudetm.errors import UsageError

    names = {s.pull.number: {*s.reported, *(c.name for c in s.pull.checks)} for s in shown}
    found = [s for s in shown if check in names[s.pull.number]]
    if not found:
        there = ", ".join(sorted(set().union(*names.values()))) or "none yet"
        raise UsageError(f"There is no check {check} on the pull requests asked for; there are: {there}")
    return found


def show(looked: Looked, seen: Seen) -> None:
    """Print a pull request: how it stands, what is not green, and what it waits for."""
    from claudetm.cli.branches import deletion
    from claudetm.cli.pulls import (
        awaits,
        checks_line,
        heading,
        merge_line,
        reviews_line,
        standing,
        tell,
        tell_address,
        tell_awaited,
        unheard_line,
    )
    from claudetm.workflow.pull_request import PullRequestState

    pull = seen.pull
    tell(heading(seen), hang=4)
    tell(f"stage: {standing(looked, seen)}", 4, 2)
    tell(f"branch: {pull.branch} at {pull.head[:10]}" + (" (deleted)" if seen.gone else ""), 4, 2)
    if pull.state is not PullRequestState.OPEN and _is_left(looked, seen):
        tell_address(f"left there: {deletion(looked.state.repository, looked.run, [pull.branch])}", 4)
    if pull.url != pull.branch:
        tell_address(f"url: {pull.url}", 4)
    tell(f"checks: {checks_line(seen)}", 4, 2)
    if pull.state is PullRequestState.OPEN:
        _print_checks(seen)
        tell(f"reviews: {reviews_line(looked, seen)}", 4, 2)
        if unheard := unheard_line(looked, seen):
            tell(f"not listened to: {unheard}", 4, 2)
        if merge := merge_line(seen):
            tell(f"merge: {merge}", 4, 2)
    tell_awaited(awaits(looked, seen), 4)


def _is_left(looked: Looked, seen: Seen) -> bool:
    """Whether its branch was pushed to GitHub by the run, is still there, and of no more use to it."""
    if looked.run.forge == "local":
        return False
    change = looked.change(seen)
    over = looked.run.finished or change is None or change.settled
    return over and not seen.gone and seen.pull.number != looked.run.adopts


def _print_checks(seen: Seen) -> None:
    """Print those that failed or have not ended, each with where it is read."""
    from claudetm.cli.pulls import tell, tell_address
    from claudetm.workflow.pull_request import CheckState

    for check in seen.pull.checks:
        if check.state is CheckState.PASSED:
            continue
        required = "required" if check.required else "not required"
        how = f": {check.summary}" if check.summary else ""
        tell(f"- {check.name} {check.state}, {required}{how}", 6, 2)
        if where := seen.links.get(check.name):
            tell_address(where, 8)


def _wanted(seen: Seen, check: str) -> list[str]:
    """Return the checks whose logs are told: the one, or those that failed; else all that have reported."""
    from claudetm.workflow.pull_request import CheckState

    if check:
        return [check]
    failed = [c.name for c in seen.pull.checks if c.state is CheckState.FAILED]
    return failed or [name for name in seen.reported if seen.logs.get(name)]


def _logs(looked: Looked, seen: Seen, check: str) -> dict[str, dict[str, str]]:
    """Return the logs that are told, cut to what matters, as the fixer is given them."""
    from claudetm.prompts.bounds import CHECK_LOG
    from claudetm.prompts.excerpt import excerpt

    wanted = _wanted(seen, check)
    if not wanted and looked.run.forge != "local":
        return _kept(looked, seen)
    logs = {name: looked.look.log(seen, name) for name in wanted}
    return {
        name: {
            "path": log.path or seen.links.get(name, ""),
            "text": excerpt(log.text, CHECK_LOG, log.path),
            "no_verdict": log.no_verdict,
        }
        for name, log in logs.items()
    }


def _kept(looked: Looked, seen: Seen) -> dict[str, dict[str, str]]:
    """Return the newest log of each check that was kept here for an earlier head of the pull request."""
    from claudetm.adapters.forge.github.logs import both_ends, failed_part, slug
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.prompts.bounds import CHECK_LOG
    from claudetm.prompts.excerpt import excerpt

    records = FileJournal(looked.state.journal).read()
    ours = [r.data for r in records if seen.change and r.data.get("change") == seen.change]
    heads = {str(d["head"])[:10] for d in ours if d.get("head")}
    failed = [str(name) for d in ours for name in d.get("failed", ())]
    found = {}
    for name in dict.fromkeys((*seen.reported, *failed)):
        files = [f for h in heads for f in (looked.state.logs / "checks").glob(f"{slug(name)}-{h}-*.log")]
        if files:
            newest = max(files, key=lambda f: f.stat().st_mtime_ns)
            text, _ = failed_part(newest.read_text(encoding="utf-8", errors="replace"))
            shown = excerpt(both_ends(text), CHECK_LOG, str(newest))
            found[name] = {"path": str(newest), "text": shown, "no_verdict": ""}
    return found


def show_logs(looked: Looked, seen: Seen, check: str = "") -> None:
    """Print the logs of what failed, or of one check."""
    from claudetm.cli.pulls import clean, one_line, tell

    logs = _logs(looked, seen, check)
    if not logs:
        print("    No check has left a log yet.")
    elif not check and not _wanted(seen, check):
        tell("No check of it has failed at this head; the newest logs of earlier ones:", 4, 2)
    for name, log in logs.items():
        print(f"\n--- {one_line(name)}: {one_line(log['path'])}".rstrip(": "))
        if log["no_verdict"]:
            tell(f"It says nothing about the code: {log['no_verdict']}")
        print(clean(log["text"]).rstrip("\n") or "The log is empty or gone.")
