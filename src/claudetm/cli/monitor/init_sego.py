"""What `monitor init` asks of Sego PM: the key, which the server has to take, and the project out of its list.

The key is never shown, not as it is typed, nor in any sentence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudetm.cli.monitor.setup import ask_text
from claudetm.errors import ConfigError, UsageError
from claudetm.ports.source import SourceBusy, SourceRefused

if TYPE_CHECKING:
    from claudetm.bootstrap.monitor_settings import MonitorSettings
    from claudetm.bootstrap.sego import ProjectSeen
    from claudetm.cli.monitor.init import Prepared, Talk

_USUAL: Final = "https://sego.pm"
_ATTEMPTS: Final = 3


def prepare(settings: MonitorSettings, api_url: str, project_id: str, prepared: Prepared, talk: Talk) -> None:
    """Find the key and the project; raise ClaudetmError where the server does not take them."""
    from claudetm.adapters.sources.sego.settings import check_address

    sego = settings.sego
    address = api_url or sego.api_url
    if talk.asks and not api_url:
        address = ask_text("Where does Sego PM answer?", address)
    address = check_address(address)
    key, projects = _key(sego.api_key, address, settings, talk)
    project = project_id or sego.project_id
    if talk.asks and not project_id:
        project = _chosen(projects, project, talk)
    if project and project not in {p.id for p in projects}:
        known = ", ".join(p.id for p in projects) or "none"
        raise UsageError(
            f"There is no project {project} at {address} for this key (there: {known}); name one of them"
        )
    prepared.variables["SEGO_API_KEY"] = key
    if address != _USUAL or sego.api_url != _USUAL:
        prepared.variables["SEGO_API_URL"] = address
    if project or sego.project_id:
        prepared.variables["SEGO_PROJECT_ID"] = project
    talk.say(f"Sego PM at {address}: the key is taken, {len(projects)} projects")
    prepared.notes.extend([*_notes(projects, project), *_shadowed(prepared.variables, settings.places.here)])


def _key(known: str, address: str, settings: MonitorSettings, talk: Talk) -> tuple[str, Sequence[ProjectSeen]]:
    """Return a key that the server takes, and its projects. A person may try again."""
    if not talk.asks:
        if not known:
            raise ConfigError("API key is required: set SEGO_API_KEY, or call `claudetm monitor init` in a terminal")
        return known, _projects(known, address, settings)
    for attempt in range(1, _ATTEMPTS + 1):
        hint = " (Enter keeps the one that is set)" if known else ""
        key = ask_text(f"API key{hint}", known, hidden=True)
        try:
            return key, _projects(key, address, settings)
        except (SourceRefused, ConfigError) as error:
            if attempt == _ATTEMPTS:
                raise
            talk.say(str(error))
    raise AssertionError  # the last attempt has raised


def _projects(key: str, address: str, settings: MonitorSettings) -> Sequence[ProjectSeen]:
    """Return the projects that a key reaches. Raises SourceRefused, SourceBusy, and ConfigError for no key."""
    from claudetm.adapters.sources.sego.settings import check_key
    from claudetm.bootstrap.sego import Refused, Server, Unreachable

    check_key(key)
    match Server(address, key, dict(settings.sego.paths)).projects():
        case Refused(sentence):
            raise SourceRefused(sentence)
        case Unreachable(sentence):
            raise SourceBusy(sentence, 0.0)
        case found:
            return found


def _chosen(projects: Sequence[ProjectSeen], known: str, talk: Talk) -> str:
    """Return the id of the project that somebody picks by number or id; "" for all."""
    for number, project in enumerate(projects, 1):
        state = f"auto-task from {project.threshold:g}" if project.auto_task else "auto-task off"
        talk.say(f"{number:3}  {project.name or project.id} ({project.id}), {state}")
    while True:
        said = ask_text("Which project? Its number, or 0 for all (then without events)", known or "0")
        if said == "0":
            return ""
        if said.isdecimal() and 1 <= int(said) <= len(projects):
            return projects[int(said) - 1].id
        if said in {p.id for p in projects}:
            return said
        talk.say(f"There is no project {said} in the list.")


def _shadowed(variables: Mapping[str, str], here: Path) -> Iterator[str]:
    """Yield a sentence for each variable that the environment, or that of the service here, says otherwise."""
    from claudetm.adapters.service.described import NAME
    from claudetm.adapters.service.environment_file import read
    from claudetm.bootstrap.service import manager_of, variables_file
    from claudetm.credentials import credential

    service = read(variables_file(NAME)) if manager_of().works_in() == here else {}
    for name, value in variables.items():
        if (there := (credential(name) or os.environ.get(name, "")).strip()) and there != value:
            yield f"{name} is set in the environment to something else, which goes before `.env`: unset {name}"
        if (there := service.get(name, "").strip()) and there != value:
            yield (
                f"the service has another {name}, which goes before `.env`: set the new one in this shell, then call "
                "`claudetm monitor service install`"
            )


def _notes(projects: Sequence[ProjectSeen], project: str) -> list[str]:
    off = [p for p in projects if p.id == project and not p.auto_task]
    return [f"auto-task is off in {p.name or p.id}: `claudetm monitor sego enable` turns it on" for p in off]
