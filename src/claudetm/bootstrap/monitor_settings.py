"""The monitor's settings, and where each comes from: command line, environment, `.env`, configuration, default.

The bare variables, and `.env`, are read here and nowhere else; a `.env` that git tracks counts only where the project
is trusted, as its writer could send the key elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.sources.sego import settings as sego
from claudetm.bootstrap.configuration import configuration
from claudetm.bootstrap.dotenv import KEY, Dotenv
from claudetm.bootstrap.monitor_places import Places, is_tracked, places, repository_around, working_directory
from claudetm.config import Resolved, Setting, parse
from claudetm.credentials import credential
from claudetm.errors import ConfigError
from claudetm.ports.source import Job, Mode

VARIABLES: Final[Mapping[str, str]] = {
    KEY: "monitor.sego.api_key",
    "SEGO_API_URL": "monitor.sego.api_url",
    "SEGO_PROJECT_ID": "monitor.sego.project_id",
    "STREAM_PROGRESS": "monitor.sego.stream_progress",
    "CONVERSATION_ONLY": "monitor.sego.conversation_only",
    "AUTO_COMMIT": "monitor.auto_commit",
    "AUTO_PUSH": "monitor.auto_push",
}
"""What the bare variables and `.env` set. USE_CLI_MODE and SEGO_WORKING_DIR stand for more than one value."""
CLI_MODE: Final = "USE_CLI_MODE"
CLI_KEY: Final = "agent.cli"
_SEGO: Final = "monitor.sego."
_SEGO_TIMEOUT: Final = 600.0  # seconds of one session, as its users know it
_MODES: Final = {"directory": Mode.GOAL, "github": Mode.GOAL, "sego": Mode.SESSION}


@dataclass(frozen=True, slots=True)
class SegoSettings:
    """How Sego PM is reached, and what is done there."""

    api_key: str = field(repr=False)
    api_url: str
    project_id: str
    sse: bool
    stream_progress: bool
    conversation_only: bool
    paths: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """What a monitor goes by. Times are seconds; `timeout` and `client_request_timeout` are those of one session."""

    places: Places
    sources: tuple[str, ...]
    mode: Mode | None  # None: as each source has it
    poll: float
    timeout: float | None
    client_request_timeout: float
    grace: float
    jobs: int
    label: str
    trusted: tuple[str, ...]
    accounts: tuple[str, ...]  # of other monitors, on GitHub
    skill: str | None
    auto_commit: bool
    auto_push: bool
    update_check: bool
    sego: SegoSettings
    root: Path | None  # of the worktree that the monitor runs in
    resolved: Resolved  # every setting of the configuration, these among them
    origins: Mapping[str, str] = field(default_factory=dict)  # by dotted key: cli, env, file or default
    working_dir_origin: str = "default"
    notes: tuple[str, ...] = ()  # sentences for the user
    flags: Mapping[str, Any] = field(default_factory=dict)  # by dotted key, as the command line has them

    def mode_of(self, source: str) -> Mode:
        """Return how a task of the source is worked that does not say so itself."""
        return self.mode or _MODES[source]

    def timeout_of(self, source: str) -> tuple[float, str]:
        """Return the seconds that one session of a source's task has, and where that comes from."""
        if self.timeout is not None or source == "sego":
            return self.timeout or _SEGO_TIMEOUT, self.origins["monitor.timeout"]
        return self.resolved["limits.session_minutes"], self.origins["limits.session_minutes"]

    def job_settings(self, source: str, mode: Mode) -> dict[str, Any]:
        """Return what a task of a source is worked by, by dotted key, where it says nothing itself."""
        limit = self.timeout or (_SEGO_TIMEOUT if source == "sego" else None)
        limit = self.client_request_timeout if mode is Mode.QUESTION else limit
        said: dict[str, Any] = {name: value for name, value in self.flags.items() if not name.startswith("monitor.")}
        said[CLI_KEY] = self.resolved[CLI_KEY]
        said |= {"limits.session_minutes": f"{limit:.3f}s"} if limit is not None else {}
        return {**said, "monitor.auto_commit": self.auto_commit, "monitor.auto_push": self.auto_push}

    def equipped(self, job: Job) -> Job:
        """Return a job with these settings below its own."""
        return replace(job, settings={**self.job_settings(job.source, job.mode), **job.settings})


def monitor_settings(
    flags: Mapping[str, Any] | None = None, where: Path | None = None, *, name: str = "", look: bool = False
) -> MonitorSettings:
    """Return the settings as they hold in a folder. `flags` are by dotted key, None meaning not given.

    Raises ClaudetmError, one sentence, for what cannot be read or understood; whether a monitor can run by them says
    `refuse_unfit`. With `look` nothing changes on the disk.
    """
    workplace = working_directory(where)
    here, dotenv = workplace.path, workplace.dotenv
    given = {k: v for k, v in (flags or {}).items() if v is not None}
    root = repository_around(here)
    resolved = configuration(root, given, look=look)
    notes = [*resolved.notes, *resolved.ignored]
    if dotenv.values and is_tracked(dotenv) and not resolved["trust_project_settings"]:
        notes.append(f"{dotenv.path} is ignored, because git tracks it: git rm --cached {dotenv.path.name} takes it.")
        dotenv = Dotenv(dotenv.path)
    if KEY in dotenv.values and dotenv.open_to_others:
        notes.append(f"{dotenv.path} holds an API key, and others can read it: chmod 600 {dotenv.path}.")
    settings = {**resolved.settings, **dict(_bare(resolved, dotenv))}
    settings[CLI_KEY] = _cli(settings[CLI_KEY], dotenv)
    made = _made(replace(resolved, settings=settings), places(here, resolved, name), root, notes)
    return replace(made, working_dir_origin=workplace.origin, flags=given)


def _bare(resolved: Resolved, dotenv: Dotenv) -> Iterator[tuple[str, Setting]]:
    """Yield what the bare variables and `.env` set, where nothing nearer does."""
    for variable, name in VARIABLES.items():
        if resolved.settings[name].source in {"flag", "environment"}:
            continue
        if setting := _said(variable, name, dotenv):
            yield name, setting


def _said(variable: str, name: str, dotenv: Dotenv) -> Setting | None:
    if text := (credential(variable) or os.environ.get(variable, "")).strip():
        return Setting(parse(f"{variable} of the environment", name, text), "environment", variable)
    if text := _of(dotenv, variable):
        return Setting(parse(f"{variable} in {dotenv.path}", name, text), str(dotenv.path), variable)
    return None


def _cli(found: Setting, dotenv: Dotenv) -> Setting:
    """Return which CLI sessions run on, where USE_CLI_MODE stands above what says so else."""
    if found.source in {"flag", "environment"}:
        return found
    for source, value in (("environment", os.environ.get(CLI_MODE, "")), (str(dotenv.path), _of(dotenv, CLI_MODE))):
        if text := value.strip().lower():
            return Setting(_cli_meant(text, source), source, CLI_MODE)
    return found


def _of(dotenv: Dotenv, name: str) -> str:
    return dotenv.values.get(name, "")


def _cli_meant(text: str, source: str) -> str:
    try:
        return {**dict.fromkeys(_YES, "path"), **dict.fromkeys(_NO, "bundled")}[text]
    except KeyError:
        raise ConfigError(f"{CLI_MODE} ({source}) must be true or false.") from None


_YES: Final = ("true", "yes", "on", "1")
_NO: Final = ("false", "no", "off", "0")


def _made(resolved: Resolved, found: Places, root: Path | None, notes: list[str]) -> MonitorSettings:
    of = {name.removeprefix("monitor."): setting.value for name, setting in resolved.settings.items()}
    sego = {name.removeprefix("sego."): value for name, value in of.items() if name.startswith("sego.")}
    return MonitorSettings(
        places=found,
        sources=of["source"] or _sources(resolved),
        mode=None if of["mode"] == "auto" else Mode(of["mode"]),
        **{name: of[name] for name in _PLAIN},
        sego=SegoSettings(**sego),
        root=root,
        resolved=resolved,
        origins={name: _origin(setting) for name, setting in resolved.settings.items()},
        notes=tuple(notes),
    )


_PLAIN: Final = (
    "poll",
    "timeout",
    "client_request_timeout",
    "grace",
    "jobs",
    "label",
    "trusted",
    "accounts",
    "skill",
    "auto_commit",
    "auto_push",
    "update_check",
)


def _sources(resolved: Resolved) -> tuple[str, ...]:
    """Return where tasks come from when nobody says: Sego PM where anything of it is set."""
    said = any(s.source != "default" for name, s in resolved.settings.items() if name.startswith(_SEGO))
    return ("sego",) if said else ("directory",)


def _origin(setting: Setting) -> str:
    return {"flag": "cli", "environment": "env", "default": "default"}.get(setting.source, "file")


def refuse_unfit(settings: MonitorSettings) -> None:
    """Raise ConfigError, in one sentence, for settings that no monitor can run by."""
    if settings.auto_push and not settings.auto_commit:
        raise ConfigError("--auto-push needs --auto-commit: only commits can be pushed.")
    if "sego" in settings.sources:
        if not settings.sego.api_key:
            raise ConfigError(
                "API key is required: set SEGO_API_KEY, give --api-key, write SEGO_API_KEY=… into .env, or call "
                "`claudetm monitor init`"
            )
        if settings.sego.conversation_only and not settings.sego.project_id:
            raise ConfigError("--conversation-only needs a project: give --project-id, or set SEGO_PROJECT_ID.")
        at_sego(settings)


def at_sego(settings: MonitorSettings, monitor: str = "claudetm") -> sego.SegoSettings:
    """Return what the source of Sego PM goes by. Raises ConfigError, in one sentence."""
    said = settings.sego
    return sego.SegoSettings(
        key=said.api_key,
        address=said.api_url,
        project=said.project_id,
        monitor=monitor,
        mode=settings.mode_of("sego"),
        skill=settings.skill or "",
        stream=said.sse,
        stream_progress=said.stream_progress,
        conversation_only=said.conversation_only,
        paths=sego.paths_of(said.paths),
        taken=settings.places.state / "sego_taken.json",
    )
