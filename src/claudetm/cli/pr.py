"""`claudetm pr`: the run's pull requests, and what their checks said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.adapters.forge.local_look import Seen
    from claudetm.cli.pulls import Looked


def command(
    number: int | None = typer.Argument(
        None, min=1, help="One pull request; all of them without it.", show_default=False
    ),
    logs: bool = typer.Option(False, "--logs", help="Show the logs of the failed checks, or of the last ones."),
    as_json: bool = typer.Option(False, "--json", help="Print them as JSON."),
) -> None:
    """Show the pull requests: branch, head, stage, checks, reviews, merge."""
    from claudetm.cli.pulls import look, print_json, pull_data

    looked = look()
    shown = [looked.find(number)] if number else looked.pulls
    if as_json:
        rows = [pull_data(looked, s) | ({"logs": _logs(s)} if logs else {}) for s in shown]
        print_json(rows[0] if number else rows)
        return
    if not shown:
        print("No pull request was opened yet.")
    for seen in shown:
        _print(looked, seen)
        if logs:
            _print_logs(seen)


def _print(looked: Looked, seen: Seen) -> None:
    from claudetm.cli.pulls import checks_line, reviews_line, standing, tell
    from claudetm.workflow.pull_request import PullRequestState

    pull = seen.pull
    tell(f"#{pull.number} {seen.change}: {seen.title}", hang=4)
    tell(f"stage: {standing(looked, seen)}", 4, 2)
    tell(f"branch: {pull.branch} at {pull.head[:10]}" + (" (deleted)" if seen.gone else ""), 4, 2)
    if pull.url != pull.branch:
        tell(f"url: {pull.url}", 4, 2)
    tell(f"checks: {checks_line(seen)}", 4, 2)
    if pull.state is PullRequestState.OPEN:
        tell(f"reviews: {reviews_line(looked, seen)}", 4, 2)


def _wanted(seen: Seen) -> list[str]:
    """Return the checks whose logs are told: those that failed; else all that have reported."""
    from claudetm.workflow.pull_request import CheckState

    failed = [c.name for c in seen.pull.checks if c.state is CheckState.FAILED]
    return [name for name in failed or seen.results if seen.log(name)]


def _logs(seen: Seen) -> dict[str, dict[str, str]]:
    """Return the logs that are told, cut to what matters, as the fixer is given them."""
    from claudetm.adapters.forge.local_journal import log_of
    from claudetm.prompts.bounds import CHECK_LOG
    from claudetm.prompts.excerpt import excerpt

    logs = {name: log_of(seen.results[name]) for name in _wanted(seen)}
    return {name: {"path": log.path, "text": excerpt(log.text, CHECK_LOG, log.path)} for name, log in logs.items()}


def _print_logs(seen: Seen) -> None:
    from claudetm.cli.pulls import one_line

    logs = _logs(seen)
    if not logs:
        print("    No check has left a log yet.")
    for name, log in logs.items():
        print(f"\n--- {one_line(name)}: {one_line(log['path'])}")
        print(log["text"].rstrip("\n") or "The log is empty or gone.")
