"""The configuration: which keys there are, where their values come from, and the policy that follows from them.

Flags come before the environment, the repository's file, the user's file and the defaults. Every key here has an
effect; null in a file leaves it to the next of these. A secret is masked wherever it is shown. pydantic would be
loaded by every command that asks for one setting, so the standard library does it.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from claudetm.errors import ConfigError
from claudetm.redact import MASK, learn, redact
from claudetm.workflow.policy import Policy, policy_from_data

FILE_VERSION: Final = 1
TIERS: Final = ("opus", "sonnet", "haiku", "fable")
"""Aliases of models: each names the newest of its kind."""
FORGES: Final = ("auto", "local", "github")
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
ROLES: Final = ("planner", "fixer", "reviewer", "responder", "updater", "verifier", "auditor", "analyst")
"""Whose model and effort can be set; a worker goes by the complexity of its task."""
SOURCES: Final = ("directory", "github", "sego")
"""Where the monitor's tasks come from."""
COMPLEXITIES: Final = ("quick", "general", "coding", "debugging")
PREFIX: Final = "CLAUDETM_"
DEBUG: Final = "CLAUDETM_DEBUG"
"""Set to 1, every setting is printed to standard error, with its source."""

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


_MOST: Final = 1_000_000  # of anything: more is a slip of the pen
_LONGEST: Final = 366 * 86_400.0  # seconds


def _count(least: int, most: int | None = None) -> Parse:
    what = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"

    def parse(value: Any) -> int:
        number = _number(value, what)
        if number < least or number > (most or math.inf) or not number.is_integer():
            raise _Unusable(what)
        if number > _MOST:
            raise _Unusable(f"at most {_MOST}")
        return int(number)

    return parse


_WHOLE: Final = 100
_MOST_JOBS: Final = 32  # some 11 GB of sessions and workers; more is a slip of the hand


def _dollars(value: Any) -> float:
    what = "an amount in US dollars above 0"
    number = _number(value.strip().removeprefix("$") if isinstance(value, str) else value, what)
    if not number:
        raise _Unusable(what)
    if number > _MOST:
        raise _Unusable(f"at most {_MOST}")
    return number


_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h)?\s*")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(unit: str, *, zero: bool = False, least: float = 0.0) -> Parse:
    """Return a parser of durations to seconds, `least` and above; a bare number counts in `unit`."""
    name = "minutes" if unit == "m" else "seconds"
    lowest = f"of at least {least:g}s" if least else f"{'of at least' if zero else 'above'} 0"
    what = f"a duration {lowest}, as in 90s, 30m, 2h or a number of {name}"

    def parse(value: Any) -> float:
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        number = _number(found[1] if found else value, what)
        seconds = number * _SECONDS[(found and found[2]) or unit]
        if not (seconds or zero) or seconds < least or not math.isfinite(seconds):
            raise _Unusable(what)
        if seconds > _LONGEST:
            raise _Unusable(f"at most {_LONGEST / 3600:.0f}h")
        return seconds

    return parse


_SOONEST_POLL: Final = 5.0  # seconds: a server is asked by several requests each time, and hints come sooner anyway


def _choice(*words: str) -> Parse:
    def parse(value: Any) -> str:
        if value not in words:
            raise _Unusable(f"one of {', '.join(words)}")
        return str(value)

    return parse


def listed_in(text: str) -> list[Any] | str | None:
    """Return the list that a text is JSON for, "" where that is spoilt; None for any other, as `[ -f x ] && make`."""
    try:
        value = json.loads(text) if text.lstrip().startswith("[") else None
    except ValueError:
        return None if re.match(r"\s*\[[ \t\[]", text) else ""
    return value if isinstance(value, list) else None


def _lines(value: Any) -> tuple[str, ...]:
    """Return a list of texts; from the environment as JSON, or one a line."""
    if isinstance(value, str):
        value = value.splitlines() if (listed := listed_in(value)) is None else listed
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) and v.strip() for v in value):
        raise _Unusable("a list of texts")
    if any("\0" in v for v in value):
        raise _Unusable("a list of texts without NUL")
    return tuple(value)


_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WITHHELD: Final = re.compile(
    r"(ANTHROPIC|CLAUDE|OPENROUTER|GITHUB|GH|GITLAB|GL|GITEA|BITBUCKET|AZURE_DEVOPS)_\w*|CLAUDETM_\w*|SEGO_API_KEY"
    r"|CI_JOB_TOKEN|GIT_\w+|SSH_\w+|HOME|TMPDIR|LD_\w+|DYLD_\w+",
    re.IGNORECASE,
)
"""What no command of others may have: the model's and the forges' keys, and what undoes their being kept apart."""


def _variable_names(value: Any) -> tuple[str, ...]:
    """Return names of environment variables, each once; from the environment also with commas between."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = value.replace(",", " ").split()
    names = tuple(dict.fromkeys(name.strip() for name in _lines(value)))
    if not all(map(_VARIABLE.fullmatch, names)):
        raise _Unusable("a list of names of environment variables")
    if withheld := [name for name in names if _WITHHELD.fullmatch(name)]:
        raise _Unusable(
            f"a list of names of environment variables without {withheld[0]} "
            "(no command gets what belongs to the model, to a forge or to its own private home)"
        )
    return names


_ACCOUNT: Final = re.compile(r"@?([A-Za-z0-9](?:[A-Za-z0-9_]|-(?=[A-Za-z0-9_]))*(?:\[bot\])?)")


def _accounts(value: Any) -> tuple[str, ...]:
    """Return names of accounts, each once, without the sign that mentions them; also with commas between."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = value.replace(",", " ").split()
    found = [_ACCOUNT.fullmatch(name.strip()) for name in _lines(value)]
    if not all(found):
        raise _Unusable("a list of names of accounts, such as octocat or renovate[bot]")
    return tuple(dict.fromkeys(name[1] for name in found if name))


def _or_none(parse: Parse) -> Parse:
    def parse_or_none(value: Any) -> Any:
        return None if value is None or value == "none" else parse(value)

    return parse_or_none


def _key(value: Any) -> str:
    """Return an API key. A line break in it would end an HTTP header early."""
    if not isinstance(value, str) or not value.strip() or not re.fullmatch(r"[!-~]+", value.strip()):
        raise _Unusable("a key without spaces")
    return value.strip()


def _url(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/]+[!-~]*", value.strip()):
        raise _Unusable("an address that begins with https:// or http://")
    return value.strip().rstrip("/")


def _sources(value: Any) -> tuple[str, ...]:
    """Return where tasks come from, each once; from the environment also with commas between."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = value.replace(",", " ").split()
    if not isinstance(value, list | tuple) or not all(v in SOURCES for v in value):
        raise _Unusable(f"a list of {', '.join(SOURCES)}")
    return tuple(dict.fromkeys(value))


def _folder(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _Unusable("the path of a folder")
    return value.strip()


def _paths(value: Any) -> dict[str, str]:
    """Return paths of an HTTP API by what they are for; from the environment as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    fits = isinstance(value, dict) and all(isinstance(p, str) and re.fullmatch(r"/[!-~]*", p) for p in value.values())
    if not fits:
        raise _Unusable("an object of paths that begin with /")
    return dict(value)


_MODEL: Final = re.compile(rf"(?:{'|'.join(TIERS)})(?:\[1m\])?|claude-[\w.@:/\[\]-]+")


# --- keys ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. `field` is where the policy has it, "" for what is not of the policy; `entry` is its place there.

    `guarded` keys run commands, carry credentials or loosen a gate: a file that git tracks cannot set them.
    `looser(value, without)` says the same of a value, compared with what would hold without that file.
    """

    name: str
    parse: Parse
    field: str = ""
    entry: str = ""
    guarded: bool = False
    looser: Callable[[Any, Any], bool] | None = None
    secret: bool = False
    unit: float = 1.0  # seconds in one of what a bare number counts
    default: Any = None  # of a key that is not of the policy

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper().replace(".", "_")

    def shown(self, value: Any) -> Any:
        """Return the value as a file would hold it, a secret masked."""
        if self.secret:
            return MASK if value else value
        if self.unit != 1.0 and value is not None:
            value /= self.unit
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return [redact(v) for v in value] if isinstance(value, tuple) else _redacted(value)


def _redacted(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value


def _switched_on(value: Any, without: Any) -> bool:
    return bool(value and not without)


def _switched_off(value: Any, without: Any) -> bool:
    return bool(without and not value)


def _more(value: Any, without: Any) -> bool:
    return without is not None and (value is None or value > without)


def _less(value: Any, without: Any) -> bool:
    return bool(value < without)


_FLAG_KEYS: Final = (
    Key("land", _flag, "land", looser=_switched_on),
    Key("git.auto_push", _flag, "auto_push", looser=_switched_on),
    Key("merge.auto", _flag, "auto_merge", looser=_switched_on),
    Key("reviews.self", _flag, "self_review", looser=_switched_off),
    Key("verify", _flag, "verify", looser=_switched_off),
    Key("plan.approve", _flag, "approve_plan", looser=_switched_off),
    Key("plan.pr_per_task", _flag, "pr_per_task"),
    Key("session.audit", _flag, "audit", looser=_switched_off),
    Key("pause_on_pr", _flag, "pause_on_pr", looser=_switched_off),
    Key("trust_project_settings", _flag, "trust_project_settings", guarded=True),
)
_MONITOR_KEYS: Final = (
    Key("monitor.source", _sources, guarded=True, default=()),
    Key("monitor.mode", _choice("auto", "goal", "session"), default="auto"),
    Key("monitor.poll", _duration("s", least=_SOONEST_POLL), default=30.0),
    Key("monitor.timeout", _or_none(_duration("m")), unit=60.0),
    Key("monitor.client_request_timeout", _duration("m"), unit=60.0, default=120.0),
    Key("monitor.grace", _duration("s", zero=True), default=60.0),
    Key("monitor.jobs", _count(1, _MOST_JOBS), looser=_more, default=1),
    Key("monitor.tasks_dir", _folder, guarded=True, default="tasks"),
    Key("monitor.results_dir", _folder, guarded=True, default="results"),
    Key("monitor.logs_dir", _folder, guarded=True, default="logs"),
    Key("monitor.state_dir", _folder, guarded=True, default="state"),
    Key("monitor.label", _name, guarded=True, default="claudetm"),
    Key("monitor.trusted", _accounts, guarded=True, default=()),
    Key("monitor.accounts", _accounts, guarded=True, default=()),
    Key("monitor.skill", _or_none(_name), guarded=True),
    Key("monitor.auto_commit", _flag, looser=_switched_on, default=False),
    Key("monitor.auto_push", _flag, looser=_switched_on, default=False),
    Key("monitor.update_check", _flag, default=True),
    Key("monitor.sego.api_key", _key, guarded=True, secret=True, default=""),
    Key("monitor.sego.api_url", _url, guarded=True, default="https://sego.pm"),
    Key("monitor.sego.project_id", _name, guarded=True, default=""),
    Key("monitor.sego.sse", _flag, default=True),
    Key("monitor.sego.stream_progress", _flag, looser=_switched_on, default=True),
    Key("monitor.sego.conversation_only", _flag, default=False),
    Key("monitor.sego.paths", _paths, guarded=True, default={}),
)
_TUNED: Final = (*(f"roles.{role}" for role in ROLES), *(f"complexity.{c}" for c in COMPLEXITIES))

KEYS: Final[Mapping[str, Key]] = {
    key.name: key
    for key in (
        *_FLAG_KEYS,
        Key("api.anthropic_api_key", _key, guarded=True, secret=True, default=""),
        Key("api.anthropic_base_url", _url, guarded=True, default=""),
        Key("api.openrouter_api_key", _key, guarded=True, secret=True, default=""),
        Key("api.openrouter_base_url", _url, guarded=True, default=""),
        Key("model", _name, "model"),
        *(Key(f"models.{tier}", _name, "models", tier) for tier in TIERS),
        Key("models.sonnet_1m", _name, "models", "sonnet[1m]"),
        *(Key(f"{name}.model", _name, "tuning", f"{name}.model") for name in _TUNED),
        *(Key(f"{name}.effort", _choice(*EFFORTS), "tuning", f"{name}.effort") for name in _TUNED),
        Key("git.target_branch", _name, default=""),
        Key("forge", _choice(*FORGES), default="auto"),
        Key("github.api_url", _url, guarded=True, default=""),
        Key("merge.method", _choice("merge", "squash", "rebase"), "merge_method"),
        Key("checks.commands", _lines, "checks", guarded=True),
        Key("checks.none", _choice("block", "pass"), "checks_none", guarded=True),
        Key("checks.timeout", _duration("s"), "checks_timeout", guarded=True),
        Key("checks.grace", _duration("s", zero=True), "checks_grace", guarded=True),
        Key("checks.environment", _variable_names, "checks_environment", guarded=True),
        Key("worktree.setup", _lines, "setup", guarded=True),
        Key("worktree.copy", _lines, "copy", guarded=True),
        Key("reviews.wait", _duration("s", zero=True), "review_wait", looser=_less),
        Key("reviews.required", _count(0), "reviews_required", looser=_less),
        Key("reviews.rounds", _count(1), "review_rounds"),
        Key("reviews.trusted", _accounts, "trusted", guarded=True),
        Key("limits.sessions", _or_none(_count(1)), "sessions", looser=_more),
        Key("limits.cost_usd", _or_none(_dollars), "cost_usd", looser=_more),
        Key("limits.session_cost_usd", _dollars, "session_cost_usd", looser=_more),
        Key("limits.turns", _count(1), "turns"),
        Key("limits.session_minutes", _duration("m"), "session_seconds", unit=60.0),
        Key("limits.idle_minutes", _duration("m"), "idle_seconds", unit=60.0),
        Key("limits.attempts", _count(1), "attempts"),
        Key("limits.fix_rounds", _count(1), "fix_rounds"),
        Key("limits.verify_rounds", _count(1), "verify_rounds"),
        Key("plan.max_prs", _or_none(_count(1)), "max_prs", looser=_more),
        Key("session.threshold", _count(0, _WHOLE), "audit_threshold", looser=_less),
        Key("session.rounds", _count(1), "audit_rounds"),
        Key("sandbox", _choice("auto", "on", "off"), "sandbox", guarded=True),
        Key("agent.cli", _choice("bundled", "path"), "cli", guarded=True),
        *_MONITOR_KEYS,
    )
}
"""Every key, by its dotted name."""

_UNUSED: Final = ("tools", "context_windows")
"""What claude-task-master's file also holds: nothing here goes by it."""

_CONTEXT: Final = "CLAUDETM_CONTEXT_"
"""Begins the variables for `context_windows`."""

_SAME: Final[Mapping[str, str]] = {
    **{f"CLAUDETM_MODEL_{name.removeprefix('models.').upper()}": name for name in KEYS if name.startswith("models.")},
    "CLAUDETM_TARGET_BRANCH": "git.target_branch",
}
"""Further variables of ours, by the key that they set as its own variable does."""
_OTHERS: Final[Mapping[str, str]] = {
    "ANTHROPIC_API_KEY": "api.anthropic_api_key",
    "ANTHROPIC_BASE_URL": "api.anthropic_base_url",
    "OPENROUTER_API_KEY": "api.openrouter_api_key",
    "OPENROUTER_BASE_URL": "api.openrouter_base_url",
    "ANTHROPIC_MODEL": "model",
    "GITHUB_API_URL": "github.api_url",
}
"""Variables that other programs know too: ours go before them."""
_VARIABLES: Final = {**{key.variable: name for name, key in KEYS.items()}, **_SAME}
_WORDS: Final = [variable.removeprefix(PREFIX) for variable in _VARIABLES]


# --- resolving -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, times in seconds, and where it comes from: `flag`, `environment`, a file's path or `default`."""

    value: Any = field(repr=False)
    source: str
    variable: str = ""  # of the environment

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return f"{self.source}: {self.variable}" if self.variable else self.source


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every key's setting, and what it hides: settings of lower sources, the nearest first.

    `ignored` says, a sentence each, what a tracked file set in vain; `notes` what else there is to know of the files.
    """

    settings: Mapping[str, Setting]
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hidden: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a key."""
        return self.settings[name].value


@dataclass(frozen=True, slots=True)
class _Source:
    """One place that values come from; `values` is by dotted key."""

    name: str
    where: str  # for a sentence about a value
    values: Mapping[str, Any]
    variables: Mapping[str, str] = field(default_factory=dict)  # by key, of the environment
    notes: tuple[str, ...] = ()


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
    tighten: bool = True,
    draft: Mapping[str, Any] | None = None,
) -> Resolved:
    """Return every key's value and source. Raises ConfigError, in one sentence.

    `flags` are by dotted key, None meaning not given. `project` and `user` are files that need not exist; `tracked`
    says that git tracks the project's, so that whoever wrote it may be a stranger. A file that holds a key is made
    its owner's alone where `tighten` says so. A `draft` is what the project's file is about to hold.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    sources = [
        _Source("flag", "the command line", given),
        _from_environment(environment or {}),
        *(
            _from_file(path, load(path) if data is None else data, tighten=tighten and data is None)
            for path, data in ((project, draft), (user, None))
            if path is not None
        ),
    ]
    parsed = [_parsed(source) for source in sources]
    ignored: tuple[str, ...] = ()
    if tracked and project is not None:
        without = _lay([parsed[0], parsed[1], *parsed[3:]])
        if not without["trust_project_settings"].value:
            ignored = _drop_guarded(parsed[2], without)
    settings = _lay(parsed)
    hidden = {name: tuple(layer[name] for layer in parsed if name in layer)[1:] for name in KEYS}
    resolved = Resolved(
        settings,
        ignored,
        tuple(note for source in sources for note in source.notes),
        {name: settings for name, settings in hidden.items() if settings},
    )
    _check_models(resolved)
    return resolved


def policy(resolved: Resolved) -> Policy:
    """Return the policy of a run that goes by these settings."""
    data: dict[str, Any] = {}
    for name, key in KEYS.items():
        if key.entry:
            data.setdefault(key.field, {}).update({key.entry: resolved[name]} if resolved[name] else {})
        elif key.field:
            data[key.field] = resolved[name]
    return policy_from_data(data)


def lines(resolved: Resolved) -> Iterator[str]:
    """Yield every setting with its source and what it hides, a line each, secrets masked."""
    for name, setting in resolved.settings.items():
        yield f"{name} = {_json(name, setting)}  ({setting.origin})"
        for other in resolved.hidden.get(name, ()):
            yield f"    hides {_json(name, other)}  ({other.origin})"


def _json(name: str, setting: Setting) -> str:
    return json.dumps(KEYS[name].shown(setting.value), ensure_ascii=False)


def debug(resolved: Resolved, environment: Mapping[str, str]) -> None:
    """Print every setting to standard error, where CLAUDETM_DEBUG asks for it."""
    if environment.get(DEBUG, "").strip().lower() not in {"1", "true", "yes", "on"}:
        return
    import sys

    for line in (*lines(resolved), *resolved.ignored, *resolved.notes):
        sys.stderr.write(f"debug: {line}\n")


def _lay(layers: Sequence[Mapping[str, Setting]]) -> dict[str, Setting]:
    settings = {name: Setting(_default(key), "default") for name, key in KEYS.items()}
    for layer in reversed(layers):
        settings.update(layer)
    return settings


_DEFAULTS: Final = Policy()
_POLICY_FIELDS: Final = frozenset(f.name for f in fields(Policy))


def _default(key: Key) -> Any:
    if key.entry:
        return ""
    return getattr(_DEFAULTS, key.field) if key.field in _POLICY_FIELDS else key.default


def _drop_guarded(layer: dict[str, Setting], without: Mapping[str, Setting]) -> tuple[str, ...]:
    """Take out of a tracked file's layer what only the user may say; return a sentence for each."""

    def is_theirs(name: str) -> bool:
        key = KEYS[name]
        loosens = key.looser is not None and key.looser(layer[name].value, without[name].value)
        return key.guarded or loosens

    dropped = [(name, layer.pop(name)) for name in list(layer) if is_theirs(name)]
    return tuple(
        f"{setting.source}: {name} is ignored, because git tracks the file; --trust-project-settings takes it."
        for name, setting in dropped
    )


def _from_environment(environment: Mapping[str, str]) -> _Source:
    """Return the set variables by key. Another of our prefix passes, unless it looks like a slip of the pen."""
    given = {variable: value for variable, value in environment.items() if value.strip()}
    found: dict[str, str] = {}  # key -> variable
    for variable in (*_OTHERS, *_VARIABLES):
        if variable not in given:
            continue
        name = _OTHERS.get(variable) or _VARIABLES[variable]
        other = found.get(name, variable)
        if variable in _SAME and other != variable and given[other].strip() != given[variable].strip():
            raise ConfigError(f"{other} and {variable} both set {name}, and differ: unset one.")
        found[name] = variable
    unused = sorted(v for v in given if v.startswith(_CONTEXT))
    for variable in given:
        if not variable.startswith(PREFIX) or variable in _VARIABLES or variable in {DEBUG, *unused}:
            continue
        if near := difflib.get_close_matches(variable.removeprefix(PREFIX), _WORDS, 1, 0.75):
            raise ConfigError(f"{variable} sets nothing; did you mean {PREFIX}{near[0]}?")
    values = {name: given[variable] for name, variable in found.items()}
    notes = (f"{', '.join(unused)}: nothing here goes by that; it is ignored.",) if unused else ()
    return _Source("environment", "the environment", values, found, notes)


def _from_file(path: Path, data: Mapping[str, Any], *, tighten: bool) -> _Source:
    """Return what a file that holds `data` sets."""
    values = _by_key(path, data)
    unused = [n for n in _UNUSED if any(name == n or name.startswith(f"{n}.") for name in values)]
    notes = [f"{path}: {' and '.join(unused)} mean nothing here and are ignored."] if unused else []
    set_ = {
        name: value for name, value in values.items() if value is not None and name.partition(".")[0] not in unused
    }
    if any(key.secret for name, key in KEYS.items() if name in set_):
        notes += _close(path) if tighten else _open_to_others(path)
    return _Source(str(path), str(path), set_, notes=tuple(notes))


def _open_to_others(path: Path) -> list[str]:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0
    return [f"{path} holds an API key, and others can read it: chmod 600 {path}."] if mode & 0o077 else []


def _close(path: Path) -> list[str]:
    """Make a file that holds a key unreadable to others; return what to say of it."""
    if not (said := _open_to_others(path)):
        return []
    try:
        path.chmod(0o600)
    except OSError:
        return said
    return [f"{path} holds an API key, and others could read it: it is now readable to you alone (0600)."]


def load(path: Path) -> dict[str, Any]:
    """Return a file's content as it stands, {} where there is no file. Raises ConfigError, in one sentence."""
    try:
        content = _read(path).decode("utf-8-sig")
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
    return data


def _read(path: Path) -> bytes:
    """Return a file's bytes. A pipe would be waited for, and a device never ends. Raises OSError, ConfigError."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as handle:
        if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
            raise ConfigError(f"{path} is not a regular file; move it away.")
        content = handle.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ConfigError(f"{path} is larger than {_LARGEST >> 20} MiB; move it away.")
    return content


_LARGEST: Final = 1 << 20  # bytes of a configuration


def _by_key(path: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's values by dotted key."""
    version = data.get("version") or FILE_VERSION
    if not re.fullmatch(rf"{FILE_VERSION}(\.\d+)*", str(version)):
        raise ConfigError(f"{path} is for another version of claudetm; this one reads version {FILE_VERSION}.")
    flat: dict[str, Any] = {}
    for name, value in _flattened({key: value for key, value in data.items() if key != "version"}, ""):
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
    return {
        name: Setting(_parse(source.where, name, value), source.name, source.variables.get(name, ""))
        for name, value in source.values.items()
    }


def named(name: str, where: str = "the command line") -> Key:
    """Return the key of a name. Raises ConfigError, with the nearest that there is."""
    if name not in KEYS:
        near = difflib.get_close_matches(name, KEYS, 1, 0.4)
        raise ConfigError(f"{where}: {name} is no setting{f'; did you mean {near[0]}?' if near else '.'}")
    return KEYS[name]


def refuse_unusable(name: str, value: Any) -> None:
    """Raise ConfigError, in one sentence, for what a key cannot be."""
    _parse("the command line", name, value)


def parse(where: str, name: str, value: Any) -> Any:
    """Return what a value means for a key. Raises ConfigError, in one sentence that begins with `where` it stands."""
    return _parse(where, name, value)


def _parse(where: str, name: str, value: Any) -> Any:
    key = named(name, where)
    try:
        parsed = key.parse(value)
    except _Unusable as unusable:
        shown = MASK if key.secret else _shown(value)
        raise ConfigError(f"{where}: {name} must be {unusable}, not {shown}.") from None
    if key.secret:
        learn(parsed)
    return parsed


def _shown(value: Any) -> str:
    text = redact(json.dumps(value, default=repr))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN: Final = 60


def _check_models(resolved: Resolved) -> None:
    """Refuse a model that no alias, no form of an id, no `models.<tier>` and no ANTHROPIC_MODEL knows."""
    known = {s.value for n, s in resolved.settings.items() if n.startswith("models.")}
    known |= {s.value for s in resolved.hidden.get("model", ()) if s.variable == "ANTHROPIC_MODEL"}
    for name, setting in resolved.settings.items():
        names_a_model = name == "model" or (KEYS[name].field == "tuning" and name.endswith(".model"))
        value = setting.value
        if not names_a_model or not value or value in known or setting.variable == "ANTHROPIC_MODEL":
            continue
        if _MODEL.fullmatch(value):
            continue
        near = difflib.get_close_matches(value, TIERS, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(TIERS)} or an id like claude-…"
        raise ConfigError(f"{_shown(value)} is no model; {hint}")
