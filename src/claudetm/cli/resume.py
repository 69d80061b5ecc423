"""`claudetm resume`: carry on after any interruption."""

from __future__ import annotations

import typer

from claudetm.cli.options import AS_JSON, LOG_FORMAT, LOG_LEVEL


def command(
    max_sessions: int = typer.Option(None, "-n", "--max-sessions", help="The new limit of sessions, all told."),
    max_cost: float = typer.Option(None, "--max-cost", help="The new budget of the run in US dollars, all told."),
    max_turns: int = typer.Option(None, "--max-turns", help="Turns of one session."),
    timeout: str = typer.Option(None, "--timeout", help="Time for one session: minutes, or 90s, 30m, 2h."),
    max_prs: int = typer.Option(None, "--max-prs", help="The new limit of pull requests, all told."),
    model: str = typer.Option(
        None, "-m", "--model", help="opus, sonnet, haiku, or a full claude-… id, for all work."
    ),
    log_level: str = LOG_LEVEL,
    log_format: str = LOG_FORMAT,
    as_json: bool = AS_JSON,
) -> None:
    """Carry a run on: after a pause, a block that was seen to, a crash or kill -9."""
    from claudetm.adapters.git.user_repository import locate
    from claudetm.bootstrap.configuration import configuration
    from claudetm.bootstrap.opening import reopen
    from claudetm.cli.driving import audience, drive_to_end
    from claudetm.cli.state import here, of_task
    from claudetm.config import KEYS, resolve
    from claudetm.errors import UsageError
    from claudetm.workflow.limits import below_use

    flags = {
        "limits.sessions": max_sessions,
        "limits.cost_usd": max_cost,
        "limits.turns": max_turns,
        "limits.session_minutes": timeout,
        "plan.max_prs": max_prs,
        "model": model,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    # a model of another provider is known by the configuration
    resolved = configuration(locate(here())[0], given) if model else resolve(given)
    raised = {KEYS[name].field: resolved[name] for name in given}
    told = audience(log_level, log_format, as_json=as_json)
    opened = reopen(here(), told.notice, of_task())
    if refused := below_use(opened.run, raised):
        opened.close()
        raise UsageError(refused.rstrip("."))
    raise typer.Exit(drive_to_end(opened, told, raised))
