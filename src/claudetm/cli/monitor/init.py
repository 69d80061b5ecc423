"""`claudetm monitor init`: everything is asked and looked at first, then written; each file in one step.

So Ctrl+C half-way leaves nothing half-done, and called again it changes nothing that is as it should be.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from claudetm.cli.monitor.setup import ask_text, ask_yes, at_a_terminal
from claudetm.errors import UsageError

if TYPE_CHECKING:
    from claudetm.bootstrap.monitor_settings import MonitorSettings

_ABOUT: Final = {
    "directory": "files tasks/task-*.md",
    "github": "issues with a label",
    "sego": "a Sego PM server",
}
EXAMPLE: Final = Path("tasks", "example.md")
_EXAMPLE: Final = """\
---
# Everything up here may be left out. Copy this file to task-NAME.md, and it is a task.
mode: goal            # goal: pull requests, checked and merged; session: one audited session
# model: sonnet
# priority: high      # high, normal, low
# budget: 5           # US dollars
# repository: ../api  # another one than where the monitor runs
---
# Add --json to the report command

`report --json` prints an array with the fields of the table. Errors stay on stderr.
"""


@dataclass(frozen=True, slots=True)
class Talk:
    """Who is spoken to: `asks` where somebody can answer, `yes` where the defaults are agreed to."""

    asks: bool
    as_json: bool

    def say(self, line: str) -> None:
        """Tell a person."""
        print(line, file=sys.stderr if self.as_json else sys.stdout, flush=True)


@dataclass(slots=True)
class Prepared:
    """What is to be written: lines of `.env`, and what makes a thing and names it, "" where it is there."""

    variables: dict[str, str] = field(default_factory=dict)
    steps: list[Callable[[], str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def command(
    source: list[str] = typer.Option(None, "--source", help="directory, github or sego (repeatable)."),
    working_dir: Path = typer.Option(None, "--working-dir", help="Where the monitor will work (here)."),
    project_id: str = typer.Option("", "--project-id", help="The project at Sego PM (all that the key reaches)."),
    api_url: str = typer.Option("", "--api-url", help="Where Sego PM answers (https://sego.pm)."),
    skill: str = typer.Option("", "--skill", help="user or project: give Claude Code the skill setup-task-monitor."),
    yes: bool = typer.Option(False, "-y", "--yes", help="Ask nothing: options, variables, defaults."),
    as_json: bool = typer.Option(False, "--json", help="Print what was done as an object."),
) -> None:
    """Set the monitor up: where tasks come from, its folders, the key. Called again, it mends what is missing."""
    from claudetm.bootstrap.monitor_settings import monitor_settings
    from claudetm.cli.monitor.skill import prepare as prepare_skill

    talk = Talk(at_a_terminal() and not yes, as_json)
    if not (yes or talk.asks):
        raise UsageError(
            "Nobody can be asked here: give --yes, with --source and what it needs as options or variables"
        )
    settings = monitor_settings(where=working_dir, look=True)
    prepared = Prepared()
    if skill:
        prepare_skill(settings, skill, prepared, talk, yes=yes)
    sources = _sources(source or [], settings, talk)
    for name in sources:
        _PREPARE[name](settings, _Given(api_url, project_id), prepared, talk)
    _prepare_setting(settings, sources, prepared)
    _done(settings, sources, prepared, _written(settings, prepared), talk)


@dataclass(frozen=True, slots=True)
class _Given:
    api_url: str
    project_id: str


def _sources(given: list[str], settings: MonitorSettings, talk: Talk) -> tuple[str, ...]:
    """Return where tasks shall come from. Raises UsageError for what is no source."""
    if not given and talk.asks:
        for name, about in _ABOUT.items():
            talk.say(f"  {name:10}{about}")
        given = ask_text("Where do tasks come from?", ",".join(settings.sources)).replace(",", " ").split()
    if unknown := [name for name in given if name not in _ABOUT]:
        raise UsageError(f"There is no source {unknown[0]}: use directory, github or sego")
    return tuple(dict.fromkeys(given)) or settings.sources


# --- what each source needs ----------------------------------------------------------------------------------


def _directory(settings: MonitorSettings, _given: _Given, prepared: Prepared, _talk: Talk) -> None:
    example = settings.places.tasks / EXAMPLE.name

    def make() -> str:
        from claudetm.adapters.store.directory import disk

        if example.exists() or example.is_symlink():
            return ""
        with disk(example), example.open("x", encoding="utf-8") as file:
            file.write(_EXAMPLE)
        return str(example)

    prepared.steps.append(make)
    if settings.root is None:
        prepared.notes.append(
            f"{settings.places.here} is in no git repository, so each task has to name one: `repository: path`"
        )


def _github(settings: MonitorSettings, _given: _Given, prepared: Prepared, talk: Talk) -> None:
    from claudetm.cli.monitor.init_github import prepare

    prepare(settings, prepared, talk)


def _sego(settings: MonitorSettings, given: _Given, prepared: Prepared, talk: Talk) -> None:
    from claudetm.cli.monitor.init_sego import prepare

    prepare(settings, given.api_url, given.project_id, prepared, talk)


_PREPARE: Final = {"directory": _directory, "github": _github, "sego": _sego}


def _prepare_setting(settings: MonitorSettings, sources: tuple[str, ...], prepared: Prepared) -> None:
    """Have the configuration say where tasks come from, unless that holds anyway."""
    explicit = settings.resolved["monitor.source"]
    by_itself = ("sego",) if prepared.variables else settings.sources
    if (explicit or by_itself) == sources:
        return
    if settings.root is None:
        raise UsageError(
            f"{settings.places.here} is in no git repository, so nothing there can say where tasks come from: "
            f"`git init`, or `claudetm monitor --source {sources[0]}`"
        )
    root = settings.root

    def put() -> str:
        from claudetm.cli.config import put

        prepared.notes.extend(put(root, "monitor.source", sources))
        return "monitor.source"

    prepared.steps.append(put)


# --- writing -------------------------------------------------------------------------------------------------


def _written(settings: MonitorSettings, prepared: Prepared) -> list[str]:
    """Write everything; return what is new."""
    from claudetm.bootstrap import dotenv_edit

    places = settings.places
    if prepared.variables:
        dotenv_edit.refuse_tracked(places.here)
    new = [str(f) for f in (places.tasks, places.results, places.logs, places.state) if not f.is_dir()]
    places.create()
    if prepared.variables and dotenv_edit.write(places.here, prepared.variables):
        new.append(str(places.here / ".env"))
    return new + [made for step in prepared.steps if (made := step())]


def _done(
    settings: MonitorSettings, sources: tuple[str, ...], prepared: Prepared, created: list[str], talk: Talk
) -> None:
    notes = list(dict.fromkeys([*settings.notes, *prepared.notes, *_account(settings)]))
    if talk.as_json:
        data: dict[str, Any] = {
            "setup_complete": True,
            "components_created": created,
            "service_type": _service_type(),
            "status": "ready",
            "sources": list(sources),
            "working_dir": str(settings.places.here),
            "notes": notes,
            "next": "claudetm monitor",
        }
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for line in [f"made {name}" for name in created] or ["everything is there already"]:
        print(line)
    for line in notes:
        print(line)
    print(f"tasks come from {', '.join(f'{name} ({_ABOUT[name]})' for name in sources)}")
    if "directory" in sources:
        print(f'next: claudetm monitor add "…", or write {settings.places.tasks}/task-NAME.md')
    print("next: claudetm monitor, or claudetm monitor service install, which keeps it running")


def _account(settings: MonitorSettings) -> list[str]:
    """Return what stands in the way of sessions, if anything does."""
    import os

    from claudetm.adapters.agent import access

    if access.choose(settings.resolved, os.environ) is not None:
        return []
    return ["no Claude credentials were found: log in with `claude`, or set ANTHROPIC_API_KEY"]


def _service_type() -> str:
    """Return what `service install` would use here."""
    if sys.platform == "darwin":
        return "launchd"
    return "systemd" if shutil.which("systemctl") and Path("/run/systemd/system").is_dir() else "none"


def agreed(question: str, talk: Talk) -> bool:
    """Return whether something is to be done: what is asked for with --yes is."""
    return ask_yes(question, default=True) if talk.asks else True
