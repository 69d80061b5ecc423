"""What `monitor init` looks at where issues on GitHub are tasks: the remote, the token, its rights, the label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claudetm.cli.monitor.setup import ask_yes
from claudetm.ports.source import Mode

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.client import GithubClient
    from claudetm.bootstrap.monitor_settings import MonitorSettings
    from claudetm.cli.monitor.init import Prepared, Talk

_COLOUR: Final = "5319e7"
_MEANS: Final = "claudetm takes this issue as a task"


def prepare(settings: MonitorSettings, prepared: Prepared, talk: Talk) -> None:
    """Raise ClaudetmError where no issue could be a task; have the label made where it is missing."""
    from claudetm.adapters.git.user_repository import inspect
    from claudetm.bootstrap.github import AT_ONCE, client_of, token_again
    from claudetm.bootstrap.github_source import issues_at, look, refuse_label, refuse_unfit

    refuse_label(settings.label)
    user = inspect(settings.places.here)
    place = issues_at(user, settings.resolved, settings.mode or Mode.GOAL)
    token = token_again(place)
    client = client_of(place, token, AT_ONCE)
    ground = look(client, token, place, settings.label)
    refuse_unfit(ground, token)
    talk.say(f"{ground.repository}: the token of {token.source} may read, label and comment its issues")
    if ground.label:
        return
    if talk.asks and not ask_yes(f"{ground.repository} has no label {settings.label}. Make it?", default=True):
        prepared.notes.append(f"{ground.repository} has no label {settings.label}; no issue can be a task without it")
        return
    prepared.steps.append(lambda: _made(client, ground.repository, settings.label))


def _made(client: GithubClient, repository: str, label: str) -> str:
    """Make the label; return what it is called for people."""
    client.write("POST", f"/repos/{repository}/labels", {"name": label, "color": _COLOUR, "description": _MEANS})
    return f"label {label} of {repository}"
