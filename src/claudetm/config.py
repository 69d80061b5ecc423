"""The configuration: which keys there are, where their values come from, and the policy that follows from them.

Flags come before the environment, the repository's file, the user's file and the defaults. Every key here has an
effect. pydantic would be loaded by every command that asks for one setting, so the standard library does it.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from claudetm.errors import ConfigError
from claudetm.workflow.policy import Policy, policy_from_data

FILE_VERSION: Final = 1
TIERS: Final = ("opus", "sonnet", "haiku", "fable")
"""Aliases of models: each names the newest of its kind."""
FORGES: Final = ("auto", "local", "github")
PREFIX: Final = "CLAUDETM_"

Parse = Callable[[Any], Any]


class _Unusable(Exception):  # noqa: N818 - half a sentence; `_parse` makes the whole one
    """Says what a value should be."""


# --- values --------------------------------------------------------------------------------------------------


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "yes", "on", "1"}:
        return True
    if isinstance(value, str) and value.lower() in {"false", "no", "off", "0"}:
        return False
    raise _Unusable("true or false")


def _name(value: Any) -> str:
    """Return the name of something; one that begins with a dash would be an option to whoever is given it."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or value.strip().startswith("-"):
        raise _Unusable("a name that does not begin with a dash")
    return value.strip()


def _number(value: Any, what: str) -> float:
    """Return a finite number above or at 0, from JSON or from the environment."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Unusable(what)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _Unusable(what) from None
    if not math.isfinite(number) or number < 0:
        raise _Unusable(what)
    return number


def _count(least: int) -> Parse:
    what = f"a whole number of at least {least}"

    def parse(value: Any) -> int:
        number = _number(value, what)
        if number < least or not number.is_integer():
            raise _Unusable(what)
        return int(number)

    return parse


def _dollars(value: Any) -> float:
    what = "an amount in US dollars above 0"
    number = _number(value.strip().removeprefix("$") if isinstance(value, str) else value, what)
    if not number:
        raise _Unusable(what)
    return number


_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h)?\s*")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(unit: str, *, zero: bool = False) -> Parse:
    """Return a parser of durations to seconds; a bare number counts in `unit`."""
    name = "minutes" if unit == "m" else "seconds"
    what = f"a duration {'of at least' if zero else 'above'} 0, as in 90s, 30m, 2h or a number of {name}"

    def parse(value: Any) -> float:
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        number = _number(found[1] if found else value, what)
        seconds = number * _SECONDS[(found and found[2]) or unit]
        if not (seconds or zero) or not math.isfinite(seconds):
            raise _Unusable(what)
        return seconds

    return parse


def _choice(*words: str) -> Parse:
    def parse(value: Any) -> str:
        if value not in words:
            raise _Unusable(f"one of {', '.join(words)}")
        return str(value)

    return parse


def _lines(value: Any) -> tuple[str, ...]:
    """Return a list of texts; from the environment as JSON, or one a line."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.splitlines()
        except ValueError:
            raise _Unusable("a list of texts") from None
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) and v.strip() for v in value):
        raise _Unusable("a list of texts")
    if any("\0" in v for v in value):
        raise _Unusable("a list of texts without NUL")
    return tuple(value)


def _or_none(parse: Parse) -> Parse:
    def parse_or_none(value: Any) -> Any:
        return None if value is None or value == "none" else parse(value)

    return parse_or_none


_MODEL: Final = re.compile(rf"(?:{'|'.join(TIERS)})(?:\[1m\])?|claude-[\w.@:/\[\]-]+")


# --- keys ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. `field` is where the policy has it, "" for what is not of the policy."""

    name: str
    parse: Parse
    field: str = ""
    guarded: bool = False  # runs commands or loosens a gate: not taken from a file that git tracks
    default: Any = None  # of a key that is not of the policy

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper().replace(".", "_")


_FLAG_KEYS: Final = (
    Key("land", _flag, "land"),
    Key("merge.auto", _flag, "auto_merge"),
    Key("reviews.self", _flag, "self_review"),
    Key("verify", _flag, "verify"),
    Key("plan.approve", _flag, "approve_plan"),
    Key("pause_on_pr", _flag, "pause_on_pr"),
    Key("trust_project_settings", _flag, "trust_project_settings", guarded=True),
)

KEYS: Final[Mapping[str, Key]] = {
    key.name: key
    for key in (
        *_FLAG_KEYS,
        Key("model", _name, "model"),
        *(Key(f"models.{tier}", _name) for tier in TIERS),
        Key("git.target_branch", _name, default=""),
        Key("forge", _choice(*FORGES), default="auto"),
        Key("merge.method", _choice("merge", "squash", "rebase"), "merge_method"),
        Key("checks.commands", _lines, "checks", guarded=True),
        Key("checks.none", _choice("block", "pass"), "checks_none", guarded=True),
        Key("checks.timeout", _duration("s"), "checks_timeout"),
        Key("checks.grace", _duration("s", zero=True), "checks_grace"),
        Key("worktree.setup", _lines, "setup", guarded=True),
        Key("worktree.copy", _lines, "copy", guarded=True),
        Key("reviews.wait", _duration("s", zero=True), "review_wait"),
        Key("reviews.required", _count(0), "reviews_required"),
        Key("reviews.rounds", _count(1), "review_rounds"),
        Key("limits.sessions", _or_none(_count(1)), "sessions"),
        Key("limits.cost_usd", _or_none(_dollars), "cost_usd"),
        Key("limits.session_cost_usd", _dollars, "session_cost_usd"),
        Key("limits.turns", _count(1), "turns"),
        Key("limits.session_minutes", _duration("m"), "session_seconds"),
        Key("limits.idle_minutes", _duration("m"), "idle_seconds"),
        Key("limits.attempts", _count(1), "attempts"),
        Key("limits.fix_rounds", _count(1), "fix_rounds"),
        Key("limits.verify_rounds", _count(1), "verify_rounds"),
        Key("sandbox", _choice("auto", "on", "off"), "sandbox", guarded=True),
    )
}
"""Every key, by its dotted name."""

_VARIABLES: Final = {key.variable: key for key in KEYS.values()}
_WORDS: Final = [variable.removeprefix(PREFIX) for variable in _VARIABLES]


# --- resolving -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, times in seconds, and where it comes from: `flag`, `environment`, a file's path or `default`."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every key's setting. `ignored` says, a sentence each, what a file set in vain."""

    settings: Mapping[str, Setting]
    ignored: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        """Return the value of a key."""
        return self.settings[name].value


@dataclass(frozen=True, slots=True)
class _Source:
    """One place that values come from; `values` is by dotted key."""

    name: str
    where: str  # for a sentence about a value
    values: Mapping[str, Any]


def user_file() -> Path:
    """Return where the user's own configuration is, whether or not there is one."""
    import platformdirs

    return platformdirs.user_config_path("claudetm") / "config.json"


def resolve(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    project: Path | None = None,
    user: Path | None = None,
    *,
    tracked: bool = False,
) -> Resolved:
    """Return every key's value and source. Raises ConfigError, in one sentence.

    `flags` are by dotted key, None meaning not given. `project` and `user` are files that need not exist; `tracked`
    says that git tracks the project's, so that whoever wrote it may be a stranger.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    sources = [
        _Source("flag", "the command line", given),
        _Source("environment", "the environment", _from_environment(environment or {})),
        *(_Source(str(path), str(path), _from_file(path)) for path in (project, user) if path is not None),
    ]
    parsed = [_parsed(source) for source in sources]
    ignored: tuple[str, ...] = ()
    if tracked and project is not None:
        trusted = _lay([parsed[0], parsed[1], *parsed[3:]])["trust_project_settings"].value
        if not trusted:
            ignored = _drop_guarded(parsed[2])
    settings = _lay(parsed)
    _check_models(settings)
    return Resolved(settings, ignored)


def policy(resolved: Resolved) -> Policy:
    """Return the policy of a run that goes by these settings."""
    data = {key.field: resolved[name] for name, key in KEYS.items() if key.field}
    models = {tier: resolved[f"models.{tier}"] for tier in TIERS if resolved[f"models.{tier}"]}
    return policy_from_data({**data, "models": models})


def _lay(layers: Sequence[Mapping[str, Setting]]) -> dict[str, Setting]:
    settings = {name: Setting(_default(key), "default") for name, key in KEYS.items()}
    for layer in reversed(layers):
        settings.update(layer)
    return settings


_DEFAULTS: Final = Policy()
_POLICY_FIELDS: Final = frozenset(f.name for f in fields(Policy))


def _default(key: Key) -> Any:
    return getattr(_DEFAULTS, key.field) if key.field in _POLICY_FIELDS else key.default


def _drop_guarded(layer: dict[str, Setting]) -> tuple[str, ...]:
    dropped = [(name, layer.pop(name)) for name in list(layer) if KEYS[name].guarded]
    return tuple(
        f"{setting.source}: {name} is ignored, because git tracks the file; --trust-project-settings takes it."
        for name, setting in dropped
    )


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the set variables by key. Another of our prefix passes, unless it looks like a slip of the pen."""
    found = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or not value.strip():
            continue
        if variable in _VARIABLES:
            found[_VARIABLES[variable].name] = value
        elif near := difflib.get_close_matches(variable.removeprefix(PREFIX), _WORDS, 1, 0.75):
            raise ConfigError(f"{variable} sets nothing; did you mean {PREFIX}{near[0]}?")
    return found


def _from_file(path: Path) -> dict[str, Any]:
    """Return a file's values by dotted key; an absent file has none."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        data = json.loads(content)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{path} is no usable JSON: {error}.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold an object, as in {{}}.")
    if data.pop("version", FILE_VERSION) != FILE_VERSION:
        raise ConfigError(f"{path} is for another version of claudetm; this one reads version {FILE_VERSION}.")
    flat: dict[str, Any] = {}
    for name, value in _flattened(data, ""):
        if name in flat:
            raise ConfigError(f"{path}: {name} is set twice.")
        flat[name] = value
    return flat


def _flattened(data: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        name = prefix + key
        if isinstance(value, dict) and name not in KEYS:
            yield from _flattened(value, f"{name}.")
        else:
            yield name, value


def _parsed(source: _Source) -> dict[str, Setting]:
    return {name: Setting(_parse(source.where, name, value), source.name) for name, value in source.values.items()}


def _parse(where: str, name: str, value: Any) -> Any:
    key = KEYS.get(name)
    if key is None:
        near = difflib.get_close_matches(name, KEYS, 1, 0.4)
        raise ConfigError(f"{where}: {name} is no setting{f'; did you mean {near[0]}?' if near else '.'}")
    try:
        return key.parse(value)
    except _Unusable as unusable:
        raise ConfigError(f"{where}: {name} must be {unusable}, not {_shown(value)}.") from None


def _shown(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN: Final = 60


def _check_models(settings: Mapping[str, Setting]) -> None:
    """Refuse a model that no alias, no form of an id and no `models.<tier>` knows."""
    setting = settings["model"]
    known = {settings[f"models.{tier}"].value for tier in TIERS}
    if setting.value and setting.value not in known and not _MODEL.fullmatch(setting.value):
        near = difflib.get_close_matches(setting.value, TIERS, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(TIERS)} or an id like claude-…"
        raise ConfigError(f"{_shown(setting.value)} is no model; {hint}")
