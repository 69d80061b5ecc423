"""A task as people write it: Markdown, with YAML front matter where something besides the text is to be said.

Only scalars stand in front matter, each key once: it is read event by event, so no tag, anchor or nesting is ever
followed. What is wrong is said with its line.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from claudetm.config import parse as parse_setting
from claudetm.config import resolve
from claudetm.errors import ConfigError
from claudetm.ports.source import Mode
from claudetm.redact import printable

TEXT_BYTES: Final = 65_536  # a task's text goes into every prompt
_FRONT_BYTES: Final = 8_192
_TITLE: Final = 100  # characters
_PRIORITIES: Final = {"high": -10, "normal": 0, "low": 10}
_MOST: Final = 1000
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Document:
    """What a task document says. `mode` is None where it leaves that to the monitor.

    `settings` are values by dotted configuration key; `lines` tells where each key of the front matter stands.
    """

    text: str
    title: str
    mode: Mode | None = None
    priority: int = 0  # the lower goes first
    repository: str = ""
    skill: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why something is no task: one clause. `line` counts from 1; 0 is the whole."""

    why: str
    line: int = 0

    def of(self, name: str) -> str:
        """Return the clause with the file it is about, by its name."""
        shown = printable(name.encode(errors="backslashreplace").decode()).replace("\n", " ")
        return f"{shown}:{self.line}: {self.why}" if self.line else f"{shown}: {self.why}"


class _Flawed(Exception):  # noqa: N818 - a fact about the text
    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.flaw = Flaw(why, line)


class _Not(Exception):  # noqa: N818 - half a clause; the line is known to who asks
    """Says what a value should be."""


# --- values --------------------------------------------------------------------------------------------------


def _mode(value: str) -> Mode:
    if value not in {Mode.GOAL, Mode.SESSION}:
        raise _Not("goal or session")
    return Mode(value)


def _title(value: str) -> str:
    return _one_line(value)


def _priority(value: str) -> int:
    if value in _PRIORITIES:
        return _PRIORITIES[value]
    if not re.fullmatch(r"[+-]?\d{1,4}", value, re.ASCII) or abs(int(value)) > _MOST:
        raise _Not(f"high, normal, low or a whole number from -{_MOST} to {_MOST}, the lower first")
    return int(value)


def _path(value: str) -> str:
    if not value.isprintable():
        raise _Not("a path that can be shown")
    return value


def _skill(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w:.-]{0,63}", value, re.ASCII):
        raise _Not("the name of a skill, without a slash before it")
    return value


def _model(value: str) -> str:
    """Refuse the slip of a pen. A name that only the repository's configuration knows is for that to judge."""
    try:
        resolve({"model": value})
    except ConfigError as error:
        if (hint := str(error).partition("; ")[2]).startswith("did you mean"):
            raise _Not(f"a model (perhaps {hint.removeprefix('did you mean ').rstrip('?')})") from None
        if " must be " in str(error):
            raise _Not(_expected(error)) from None
    return value


def _setting(name: str, value: str) -> Any:
    try:
        return parse_setting("", name, value)
    except ConfigError as error:
        raise _Not(_expected(error)) from None


def _expected(error: ConfigError) -> str:
    return str(error).partition(" must be ")[2].rpartition(", not ")[0]


def _budget(value: str) -> float:
    amount = _setting("limits.cost_usd", value)
    if amount is None:  # no limit is what a configuration says, not who adds a task
        raise _Not("an amount in US dollars above 0")
    return float(amount)


def _timeout(value: str) -> str:
    return f"{_setting('limits.session_minutes', value):.3f}s"


def _auto_commit(value: str) -> bool:
    return bool(_setting("monitor.auto_commit", value))


def _auto_push(value: str) -> bool:
    return bool(_setting("monitor.auto_push", value))


KEYS: Final[Mapping[str, Callable[[str], Any]]] = {
    "mode": _mode,
    "title": _title,
    "model": _model,
    "priority": _priority,
    "budget": _budget,
    "repository": _path,
    "skill": _skill,
    "timeout": _timeout,
    "auto_commit": _auto_commit,
    "auto_push": _auto_push,
}
"""Every key of the front matter, and how its value is read."""

_SETTINGS: Final = {
    "model": "model",
    "budget": "limits.cost_usd",
    "timeout": "limits.session_minutes",
    "auto_commit": "monitor.auto_commit",
    "auto_push": "monitor.auto_push",
}
"""Those that are laid over the configuration."""


# --- reading -------------------------------------------------------------------------------------------------


def parse(content: bytes) -> Document | Flaw:
    """Return what the bytes of a document say, or the first thing that is wrong with them."""
    try:
        return _document(_decoded(content))
    except _Flawed as flawed:
        return flawed.flaw


def _decoded(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        bad = content[error.start]
        raise _Flawed(f"it is no UTF-8 text (byte 0x{bad:02x} at offset {error.start})", line) from None
    if "\0" in text:
        raise _Flawed("it holds a NUL character, so it is no text", text.count("\n", 0, text.index("\0")) + 1)
    return text


def _document(text: str) -> Document:
    front, body, first = _split(text)
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, value, line in _pairs(front):
        if key in lines:
            raise _Flawed(f"the key `{key}` stands twice, first in line {lines[key]}", line)
        lines[key] = line
        if value is not None:
            values[key] = _value(key, value, line)
        elif key not in KEYS:
            raise _Flawed(_unknown(key), line)
    _refuse_contradictions(values, lines)
    asked = body.strip()
    if not asked:
        empty = "it says nothing to do: write the task below the front matter" if first else "it is empty"
        raise _Flawed(empty, first)
    if (size := len(asked.encode())) > TEXT_BYTES:
        raise _Flawed(f"its text has {size} bytes; {TEXT_BYTES} is the most: put the details into a file", first)
    return Document(
        asked,
        values.get("title") or heading(asked),
        values.get("mode"),
        values.get("priority", 0),
        values.get("repository", ""),
        values.get("skill", ""),
        {name: values[key] for key, name in _SETTINGS.items() if key in values},
        lines,
    )


def _split(text: str) -> tuple[str, str, int]:
    """Return the front matter, the text below it, and the line that begins with; "" and 0 where there is none."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return "", text, 0
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() in {"---", "..."}), 0)
    if not end:
        raise _Flawed("the front matter that begins here has no end: put a line of three dashes below it", 1)
    front = "\n".join(lines[1:end])
    if len(front.encode()) > _FRONT_BYTES:
        raise _Flawed(f"the front matter has more than {_FRONT_BYTES} bytes; the task's text belongs below it", 1)
    return front, "\n".join(lines[end + 1 :]), end + 2


def _pairs(front: str) -> Iterator[tuple[str, str | None, int]]:
    """Yield each key with its value, None where that is null, and its line in the document."""
    events = _events(front)
    first = next(events, None)
    if first is None:
        return
    if not isinstance(first, yaml.MappingStartEvent):
        raise _Flawed("front matter is keys and values, as in `mode: session`", _line(first))
    for key in events:
        if isinstance(key, yaml.MappingEndEvent):
            return
        if not isinstance(key, yaml.ScalarEvent):
            raise _Flawed("a key must be one word", _line(key))
        value = next(events)
        if not isinstance(value, yaml.ScalarEvent):
            raise _Flawed(f"`{_shown(key.value)}` takes one value, neither a list nor keys of its own", _line(key))
        null = value.implicit[0] and value.value in {"", "~", "null", "Null", "NULL"}
        yield key.value, None if null else value.value.strip(), _line(key)


def _events(front: str) -> Iterator[yaml.Event]:
    """Yield what is read so far, so that whoever refuses it need not read the rest: nesting takes long."""
    try:
        for event in yaml.parse(front, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _Flawed("anchors and aliases (& and *) mean nothing here: quote the value", _line(event))
            if getattr(event, "tag", None):
                raise _Flawed("tags (!) mean nothing here: quote the value", _line(event))
            if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                yield event
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Flawed(f"it is no YAML: {error.problem or error.context}", (mark.line if mark else 0) + 2) from None
    except yaml.reader.ReaderError as error:
        line = front.count("\n", 0, int(error.position)) + 2
        raise _Flawed("front matter holds a character that YAML does not have", line) from None


def _line(event: yaml.Event) -> int:
    return (event.start_mark.line if event.start_mark else 0) + 2


def _value(key: str, value: str, line: int) -> Any:
    if key not in KEYS:
        raise _Flawed(_unknown(key), line)
    try:
        return KEYS[key](value)
    except _Not as wanted:
        raise _Flawed(f"`{key}` must be {wanted}, not {_shown(value)!r}", line) from None


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key.lower(), KEYS, 1, 0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(KEYS)}"
    return f"there is no key `{_shown(key)}`; {hint}"


def _shown(value: str) -> str:
    plain = " ".join(printable(value).split())
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}…"


def _refuse_contradictions(values: Mapping[str, Any], lines: Mapping[str, int]) -> None:
    if values.get("auto_push") and values.get("auto_commit") is False:
        raise _Flawed("`auto_push` needs `auto_commit`: only commits can be pushed", lines["auto_push"])
    if values.get("skill") and values.get("mode") is Mode.GOAL:
        raise _Flawed("`skill` needs `mode: session`: a goal is planned without one", lines["skill"])


def heading(text: str) -> str:
    """Return a title for a text: its first line that says anything, without the marks of a heading."""
    said = (_one_line(line.lstrip(" #>*-")) for line in text.split("\n"))
    return next((line for line in said if line), "")


def _one_line(text: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in printable(text)).split())
    return plain if len(plain) <= _TITLE else f"{plain[: _TITLE - 1]}…"


# --- writing -------------------------------------------------------------------------------------------------


def render(text: str, values: Mapping[str, str]) -> str:
    """Return the document that says this. The values are as they would be typed; `parse` judges them."""
    front = "".join(f"{key}: {_quoted(value)}\n" for key, value in values.items())
    fence = bool(front) or text.split("\n", 1)[0].rstrip() == "---"
    return f"{f'---{chr(10)}{front}---{chr(10) * 2}' if fence else ''}{text.strip()}\n"


def _quoted(value: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]*", value) and value.lower() != "null"
    return value if plain else json.dumps(value, ensure_ascii=False)
