"""`claudetm start "goal"`: begin a run and drive it."""

from __future__ import annotations

from pathlib import Path
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
    from claudetm.bootstrap.opening import Wish
    from claudetm.cli.driving import Audience
    from claudetm.cli.exit_codes import ExitCode


def command(
    goal: str | None = typer.Argument(
        None, help="What shall be true at the end. `-` reads it from standard input.", show_default=False
    ),
    criteria: list[str] = typer.Option([], "--criteria", help="A statement that must hold at the end (repeatable)."),
    from_issue: str = typer.Option(
        "",
        "--from-issue",
        metavar="N|URL",
        help="Take the goal from an issue on GitHub, or with a goal the details; the last merge closes it.",
        show_default=False,
    ),
    base: str = typer.Option(None, "--base", help="The branch to land on (the default one)."),
    model: str = MODEL,
    forge: str = typer.Option(None, "--forge", help="Where pull requests live: auto, local or github."),
    check: list[str] = typer.Option(
        [], "--check", help="A command that every merge must pass; on GitHub, that agents run (repeatable)."
    ),
    no_checks: bool = typer.Option(False, "--no-checks", help="Merge what no check has reported on."),
    auto_merge: bool = typer.Option(None, "--auto-merge/--no-auto-merge", help="Merge what is green and reviewed."),
    review: bool = typer.Option(None, "--review/--no-review", help="Let a fresh session review each pull request."),
    verify: bool = typer.Option(None, "--verify/--no-verify", help="Judge the criteria at the end."),
    approve_plan: bool = typer.Option(None, "--approve-plan", help="Stop once there is a plan; resume approves it."),
    pr_per_task: bool = typer.Option(
        None, "--pr-per-task/--no-pr-per-task", help="Make every task a pull request of its own."
    ),
    max_prs: int = typer.Option(None, "--max-prs", help="Plan at most so many pull requests, fixes included."),
    pause_on_pr: bool = typer.Option(None, "--pause-on-pr", help="Stop whenever a pull request has been opened."),
    max_sessions: int = MAX_SESSIONS,
    max_cost: float = MAX_COST,
    max_turns: int = MAX_TURNS,
    timeout: str = TIMEOUT,
    sandbox: str = SANDBOX,
    trust: bool = TRUST,
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Only plan: show the plan and what would be done; no branch, no pull request."
    ),
    rehearse: str = typer.Option("", "--rehearse", help="Play a scenario with a scripted model: no key, no network."),
    log_level: str = LOG_LEVEL,
    log_format: str = LOG_FORMAT,
    as_json: bool = AS_JSON,
) -> None:
    """Plan the goal as pull requests, work them, merge what was tested, verify the result."""
    from claudetm.bootstrap.opening import Wish
    from claudetm.bootstrap.texts import check_text
    from claudetm.cli.driving import audience
    from claudetm.cli.state import here

    check = [check_text("check", c, 'name a command, as in --check "make test"') for c in check]
    settings: dict[str, Any] = {
        "model": model,
        "forge": forge,
        "checks.commands": check or None,
        "checks.none": "pass" if no_checks else None,
        "merge.auto": auto_merge,
        "reviews.self": review,
        "verify": verify,
        "plan.approve": approve_plan,
        "plan.pr_per_task": pr_per_task,
        "plan.max_prs": max_prs,
        "pause_on_pr": pause_on_pr,
        "limits.sessions": max_sessions,
        "limits.cost_usd": max_cost,
        "limits.turns": max_turns,
        "limits.session_minutes": timeout,
        "sandbox": sandbox,
        "trust_project_settings": trust,
    }
    wish = Wish(_goal(goal, from_issue), tuple(criteria), base, settings, rehearse, dry_run, issue=from_issue)
    told = audience(log_level, log_format, as_json=as_json)
    raise typer.Exit(run(wish, here(), told))


def _goal(goal: str | None, issue: str) -> str:
    """Return the goal, "" where it is the issue's to say. Raises UsageError where neither says it."""
    from claudetm.errors import UsageError

    if goal is None and not issue:
        raise UsageError('The goal is missing: give it, as in "goal", or --from-issue N; see `claudetm start --help`')
    return "" if goal is None else _read(goal)


def _read(goal: str) -> str:
    """Return the goal, from standard input for `-`; no more is read of that than a goal may be long."""
    import sys

    from claudetm.bootstrap.texts import GOAL_BYTES

    if goal != "-" or sys.stdin is None:
        return goal.removeprefix("-") if goal == "-" else goal
    return sys.stdin.buffer.read(GOAL_BYTES + 1).decode(errors="surrogateescape")


def run(wish: Wish, where: Path, told: Audience) -> ExitCode:
    """Begin the run and drive it; return the exit code."""
    from claudetm.bootstrap.opening import begin
    from claudetm.cli.driving import drive_to_end

    return drive_to_end(begin(wish, where, told.notice), told)
