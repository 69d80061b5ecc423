"""`claudetm fix-pr N`: take a pull request on GitHub that was made elsewhere, and drive it to merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from claudetm.cli.options import (
    AS_JSON,
    LOG_FORMAT,
    LOG_LEVEL,
    MAX_COST,
    MAX_SESSIONS,
    MAX_TURNS,
    MODEL,
    SANDBOX,
    TIMEOUT,
    TRUST,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudetm.bootstrap.merge_only import Merged
    from claudetm.cli.exit_codes import ExitCode


def command(
    which: str = typer.Argument(help="The pull request: its number or its address.", metavar="N|URL"),
    merge_only: bool = typer.Option(
        False, "--merge-only", help="Merge it as it is, or say all that is against that; no session, no waiting."
    ),
    model: str = MODEL,
    no_checks: bool = typer.Option(False, "--no-checks", help="Merge although no check ever reports."),
    auto_merge: bool = typer.Option(
        None, "--auto-merge/--no-auto-merge", help="Merge what is green and reviewed; a stranger's only if asked."
    ),
    review: bool = typer.Option(None, "--review/--no-review", help="Let a fresh session review it."),
    max_sessions: int = MAX_SESSIONS,
    max_cost: float = MAX_COST,
    max_turns: int = MAX_TURNS,
    timeout: str = TIMEOUT,
    sandbox: str = SANDBOX,
    trust: bool = TRUST,
    rehearse: str = typer.Option("", "--rehearse", help="Play a scenario with a scripted model: no key."),
    log_level: str = LOG_LEVEL,
    log_format: str = LOG_FORMAT,
    as_json: bool = AS_JSON,
) -> None:
    """Bring a pull request that was made elsewhere to merged: checks, reviews, conflicts. GitHub only."""
    from claudetm.cli.state import here

    gates: dict[str, Any] = {"checks.none": "pass" if no_checks else None}
    work: dict[str, Any] = {
        "model": model,
        "merge.auto": auto_merge,
        "reviews.self": review,
        "limits.sessions": max_sessions,
        "limits.cost_usd": max_cost,
        "limits.turns": max_turns,
        "limits.session_minutes": timeout,
        "sandbox": sandbox,
        "trust_project_settings": trust,
    }
    if merge_only:
        spoken = (rehearse, log_level.replace("normal", ""), log_format.replace("text", ""))
        others = any(spoken) or any(value is not None for value in work.values())
        raise typer.Exit(_merge_only(which, gates, others=others, as_json=as_json))
    from claudetm.bootstrap.opening import Wish
    from claudetm.cli.driving import audience
    from claudetm.cli.start import run

    wish = Wish(
        "", settings={"forge": "github" if rehearse else None, **gates, **work}, rehearsal=rehearse, adopts=which
    )
    raise typer.Exit(run(wish, here(), audience(log_level, log_format, as_json=as_json)))


def _merge_only(which: str, gates: Mapping[str, Any], *, others: bool, as_json: bool) -> ExitCode:
    """Merge it now or say why not; return the exit code."""
    from claudetm.cli.exit_codes import ExitCode
    from claudetm.cli.pulls import print_json
    from claudetm.cli.state import here
    from claudetm.errors import UsageError

    if others:
        raise UsageError("--merge-only begins no run: of the other options it takes --no-checks and --json alone")
    from claudetm.bootstrap.merge_only import merge_only

    came = merge_only(which, here(), gates)
    print_json(_data(came)) if as_json else _print(came)
    return ExitCode.FAILED if came.reasons else ExitCode.SUCCESS


def _data(came: Merged) -> dict[str, Any]:
    return {
        "number": came.number,
        "title": came.title,
        "url": came.url,
        "head": came.head,
        "merged": bool(came.commit),
        "before": came.before,
        "commit": came.commit,
        "by": came.by,
        "branch_left": came.branch,
        "waits_for": came.waits,
        "reasons": list(came.reasons),
    }


def _print(came: Merged) -> None:
    from claudetm.cli.pulls import one_line, tell, tell_address

    tell(f"#{came.number} {one_line(came.title)}", hang=2)
    tell_address(came.url, 2)
    if came.before:
        tell(f"merged already, as {came.commit[:10]}" + (f" by {came.by}" if came.by else ""), 2, 2)
    elif came.commit:
        tell(f"merged as {came.commit[:10]}, by its head {came.head[:10]}", 2, 2)
        if came.branch:
            tell(f"its branch {came.branch} is left", 2, 2)
    elif came.waits:
        tell(f"not merged yet: handed to {came.waits} at GitHub, which merges it once it may", 2, 2)
    else:
        tell("not merged:", 2)
        for reason in came.reasons:
            tell(f"- {one_line(reason)}", 4, 2)
        reopen = "reopen it at the address above, then " if came.closed else ""
        tell(f"next: {reopen}claudetm fix-pr {came.number}", 2, 2)
