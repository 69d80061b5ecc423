"""`claudetm monitor`: what the command line says of it, and who is told what it does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from claudetm.cli.exit_codes import ExitCode
from claudetm.cli.options import LOG_FORMAT, LOG_LEVEL

if TYPE_CHECKING:
    from claudetm.bootstrap.monitor_settings import MonitorSettings
    from claudetm.cli.monitor.screen import Screen

SEGO = "Sego PM"
KEEPING = "What is done with the work of a session"


def callback(
    ctx: typer.Context,
    source: list[str] = typer.Option(None, "--source", help="directory, github or sego (repeatable)."),
    working_dir: Path = typer.Option(None, "--working-dir", help="Where the monitor works (here)."),
    mode: str = typer.Option(None, "--mode", help="auto, goal or session: how a task is worked that says nothing."),
    model: str = typer.Option(None, "-m", "--model", help="opus, sonnet, haiku, or a full claude-… id."),
    jobs: int = typer.Option(None, "--jobs", help="How many tasks are worked at a time (1; 32 at most)."),
    poll: str = typer.Option(None, "--poll", help="How often each source is asked: seconds, 5 at least, or 5m (30)."),
    timeout: str = typer.Option(None, "--timeout", help="Time for one session of a task: minutes, or 90s, 2h."),
    once: bool = typer.Option(False, "--once", help="Work what is there now, then end."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be taken, and why not the rest."),
    name: str = typer.Option("", "--name", help="Of a second monitor in the same folder: it has a state of its own."),
    use_cli_mode: bool = typer.Option(False, "--use-cli-mode", help="Run sessions on the claude that is on PATH."),
    no_update_check: bool = typer.Option(False, "--no-update-check", help="Do not look for a newer version."),
    rehearse: str = typer.Option("", "--rehearse", help="Play a scenario with a scripted model: no key, no network."),
    auto_commit: bool = typer.Option(
        False,
        "--auto-commit",
        help="Keep it as commits on claudetm/task/… (else as a snapshot).",
        rich_help_panel=KEEPING,
    ),
    auto_push: bool = typer.Option(
        False, "--auto-push", help="Push that branch; needs --auto-commit.", rich_help_panel=KEEPING
    ),
    api_key: str = typer.Option(
        None,
        "--api-key",
        help="The key; others see it in the process list. `-` reads standard input.",
        rich_help_panel=SEGO,
        show_default=False,
    ),
    api_url: str = typer.Option(None, "--api-url", help="Where it answers (https://sego.pm).", rich_help_panel=SEGO),
    project_id: str = typer.Option(None, "--project-id", help="The project (all of them).", rich_help_panel=SEGO),
    client_request_timeout: str = typer.Option(
        None, "--client-request-timeout", help="Time for one client request: minutes (2).", rich_help_panel=SEGO
    ),
    no_sse: bool = typer.Option(
        False, "--no-sse", help="Learn of client requests by asking alone, without events.", rich_help_panel=SEGO
    ),
    no_stream_progress: bool = typer.Option(
        False, "--no-stream-progress", help="Do not show progress there.", rich_help_panel=SEGO
    ),
    conversation_only: bool = typer.Option(
        False, "--conversation-only", help="Answer conversations alone; needs a project.", rich_help_panel=SEGO
    ),
    log_level: str = LOG_LEVEL,
    log_format: str = LOG_FORMAT,
    as_json: bool = typer.Option(False, "--json", help="The same as --log-format json: a JSON object a line."),
) -> None:
    """Take tasks from a directory, GitHub issues or Sego PM, work them, report back."""
    if ctx.invoked_subcommand is not None:
        refuse_misplaced(ctx)
        return
    flags: dict[str, Any] = {
        "monitor.source": [name for said in source for name in said.split(",")] if source else None,
        "monitor.mode": mode,
        "model": model,
        "monitor.jobs": jobs,
        "monitor.poll": poll,
        "monitor.timeout": timeout,
        "agent.cli": "path" if use_cli_mode else None,
        "monitor.update_check": False if no_update_check else None,
        "monitor.auto_commit": auto_commit or None,
        "monitor.auto_push": auto_push or None,
        "monitor.sego.api_key": _key(api_key),
        "monitor.sego.api_url": api_url,
        "monitor.sego.project_id": project_id,
        "monitor.client_request_timeout": client_request_timeout,
        "monitor.sego.sse": False if no_sse else None,
        "monitor.sego.stream_progress": False if no_stream_progress else None,
        "monitor.sego.conversation_only": conversation_only or None,
    }
    from claudetm.bootstrap.monitor import doubt
    from claudetm.bootstrap.monitor_settings import monitor_settings, refuse_unfit
    from claudetm.cli.monitor.screen import screen

    told = screen(log_level, log_format, as_json=as_json)
    settings = monitor_settings(flags, working_dir, name=name, look=dry_run)
    refuse_unfit(settings)
    for note in settings.notes:
        told.notice(note)
    if api_key not in {None, "-"}:
        told.notice(
            "the key stands in the process list, where others can see it: SEGO_API_KEY, `.env` or `-` hide it"
        )
    if at_place := doubt(settings):
        told.notice(at_place)
    if dry_run:
        raise typer.Exit(_show(settings, rehearse, told))
    from claudetm.errors import LockLost, StoreError

    try:
        raise typer.Exit(_run(settings, rehearse, told, once=once))
    except (StoreError, LockLost) as error:
        error.code = ExitCode.PASSING
        raise


def _run(settings: MonitorSettings, rehearsal: str, told: Screen, *, once: bool) -> int:
    """Run the monitor to its end; return the exit code."""
    import asyncio
    import gc
    import os

    from claudetm import __version__
    from claudetm.adapters.service.notify import notifier
    from claudetm.bootstrap import monitor, updates
    from claudetm.cli.monitor.banner import lines, settings_shown
    from claudetm.cli.monitor.log import open_log
    from claudetm.credentials import undumpable

    undumpable()
    gc.enable()
    manager = notifier(os.environ)
    rehearsal = monitor.able(settings, rehearsal)
    settings.places.create()
    with monitor.held(settings.places) as journal:
        told.open(open_log(settings.places.log))
        told.banner(list(lines(settings, __version__)), settings_shown(settings), __version__)
        if settings.update_check:
            if newer := updates.notice():
                told.notice(newer)
            updates.ask_in_background()
        ended = asyncio.run(monitor.run(settings, journal, told, manager, rehearsal=rehearsal, once=once))
    told.end(ended.sentence or _ENDED[str(ended.ending)], ended.code)
    return ended.code


_ENDED = {"done": "all that was there is done", "stopped": "stopped; what was under way goes on at the next start"}


def _show(settings: MonitorSettings, rehearsal: str, told: Screen) -> int:
    """Tell what would be taken, and why not the rest; return the exit code."""
    import asyncio

    from claudetm import __version__
    from claudetm.adapters.store.lock import holder
    from claudetm.bootstrap import monitor
    from claudetm.cli.monitor.banner import lines, settings_shown
    from claudetm.errors import ClaudetmError

    told.banner(list(lines(settings, __version__)), settings_shown(settings), __version__)
    if running := holder(settings.places.lock):
        told.notice(f"a monitor works here already ({running}): it takes what is taken")
    try:
        monitor.able(settings, rehearsal)
    except ClaudetmError as error:
        told.notice(f"as it is, the monitor would not start: {error}")
    found, troubles = asyncio.run(monitor.preview(settings, told.notice))
    for prospect in found:
        told.prospect(prospect)
    for trouble in troubles:
        told.notice(trouble)
    taken, on = sum(p.taken for p in found), sum(p.held is not None for p in found)
    goes_on = f", {on} of them under way" if on else ""
    told.end(
        f"dry run: {taken} would be taken{goes_on}, {len(found) - taken} not; nothing was changed",
        ExitCode.FAILED if troubles else ExitCode.SUCCESS,
    )
    return ExitCode.FAILED if troubles else ExitCode.SUCCESS


def refuse_misplaced(ctx: typer.Context) -> None:
    """Raise UsageError for an option that stands before a subcommand, where it would mean nothing."""
    from claudetm.errors import UsageError

    given = [p for p in ctx.command.params if _is_given(ctx, p.name or "")]
    if given:
        option = max(given[0].opts, key=len)
        raise UsageError(
            f"{option} stands before `{ctx.invoked_subcommand}`, where it means nothing: options of a subcommand "
            "stand behind it"
        )


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _key(given: str | None) -> str | None:
    """Return the key; `-` reads standard input, without echo where somebody types."""
    if given != "-":
        return given
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("API key: ").strip()
    return sys.stdin.readline(_LONGEST_KEY).strip()


_LONGEST_KEY = 4096
