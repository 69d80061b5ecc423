"""What a scenario says, and how its YAML file is read. A file that says anything unknown is refused with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from claudetm.errors import ConfigError
from claudetm.ports.agent import Role

ANSWER: Final = "StructuredOutput"
"""The CLI's tool that hands over the structured answer; `answer:` is short for it."""

TOOLS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "Bash": (frozenset({"command"}), frozenset({"description", "timeout", "run_in_background"})),
    "Edit": (frozenset({"file_path", "old_string", "new_string"}), frozenset({"replace_all"})),
    "Glob": (frozenset({"pattern"}), frozenset({"path"})),
    "Grep": (frozenset({"pattern"}), frozenset({"path", "glob", "output_mode", "-i", "-n", "head_limit"})),
    "Read": (frozenset({"file_path"}), frozenset({"offset", "limit"})),
    "Write": (frozenset({"file_path", "content"}), frozenset()),
    "Skill": (frozenset({"skill"}), frozenset({"args"})),
}
"""The tools a turn can use: the inputs each needs, and those it may have besides. StructuredOutput takes any."""


class Fault(StrEnum):
    """What can go wrong with a turn; each is a key of a turn or a session."""

    STATUS = "status"  # an HTTP error of that number
    USAGE_LIMIT = "usage_limit"  # 429 with the headers of a spent subscription, for that many seconds
    CREDIT = "credit"  # 400, the balance is too low
    PROMPT_TOO_LONG = "prompt_too_long"  # 400, the conversation is too long
    CUT = "cut"  # the connection closes in the middle of the message
    STALL = "stall"  # the stream falls silent in the middle of the message and stays open
    MALFORMED = "malformed"  # the middle of the message is no JSON
    REFUSAL = "refusal"  # the model declines
    MAX_TOKENS = "max_tokens"  # the message ends at the output limit


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tokens(_Part):
    """What a turn reports as used, in tokens; the CLI makes a cost of it."""

    input: NonNegativeInt = 1200
    output: NonNegativeInt = 150
    cache_read: NonNegativeInt = 0
    cache_write: NonNegativeInt = 0


class _Faulty(_Part):
    delay: NonNegativeFloat = 0.0  # seconds before the first byte
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    usage_limit: NonNegativeFloat | None = None
    credit: bool = False
    prompt_too_long: bool = False
    cut: bool = False
    stall: bool = False
    malformed: bool = False
    refusal: bool = False
    max_tokens: bool = False
    times: PositiveInt | None = None  # so many requests of a turn meet the fault, then it is over; default: all

    @model_validator(mode="after")
    def _one_fault(self) -> Self:
        given = [str(f) for f in Fault if getattr(self, f) not in (None, False)]
        if len(given) > 1:
            raise ValueError(f"only one of {', '.join(given)} can happen at once")
        if self.times is not None and not given:
            raise ValueError("`times` counts a fault, and none is named")
        return self

    @property
    def fault(self) -> Fault | None:
        """Return what goes wrong, or None."""
        return next((f for f in Fault if getattr(self, f) not in (None, False)), None)


class Use(_Part):
    """One call of a tool."""

    tool: str
    input: dict[str, Any]

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.tool == ANSWER:
            return self
        if self.tool not in TOOLS:
            raise ValueError(f"unknown tool {self.tool}; known are {', '.join([*TOOLS, ANSWER])}")
        needed, optional = TOOLS[self.tool]
        if missing := needed - self.input.keys():
            raise ValueError(f"{self.tool} needs {', '.join(sorted(missing))}")
        if unknown := self.input.keys() - needed - optional:
            raise ValueError(f"{self.tool} has no input {', '.join(sorted(unknown))}")
        return self


def _use(value: Any) -> Any:
    """Return `{Bash: {command: ls}}` as the fields of a Use."""
    match value:
        case Use():
            return value
        case dict() if len(value) == 1:
            [(tool, given)] = value.items()
            return {"tool": str(tool), "input": {} if given is None else given}
        case _:
            raise ValueError("a use is one tool with its input, as in `Bash: {command: ls}`")


class Turn(_Faulty):
    """One message of the model: text, tools, or the answer. One without tools ends the model's turn."""

    say: str = ""
    use: tuple[Annotated[Use, BeforeValidator(_use)], ...] = ()
    answer: dict[str, Any] | None = None
    tokens: Tokens = Tokens()

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not (self.say or self.uses or self.fault):
            raise ValueError("a turn says, uses or answers something, or has a fault")
        return self

    @property
    def uses(self) -> tuple[Use, ...]:
        """Return every call of a tool, the answer last."""
        return self.use if self.answer is None else (*self.use, Use(tool=ANSWER, input=self.answer))


def _one_group(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if pattern.groups != 1:
        raise ValueError("the regular expression needs one group, which is what is found")
    return pattern


Found = Annotated[re.Pattern[str], AfterValidator(_one_group)]


class Session(_Faulty):
    """The turns of one conversation. The first session of a scenario that fits a request plays.

    Asked again after its last turn, it plays that again: a model that is asked twice says the same.
    """

    role: Role
    subject: str  # may be a glob: `c*.t1`
    contains: tuple[str, ...] = ()  # texts that must all stand in what the user said
    find: dict[str, Found] = {}  # name: regular expression, found in what the user said; its group fills {name}
    turns: tuple[Turn, ...] = Field(min_length=1)
    repeat: bool = False  # the last turn may be one of tools, which then plays for ever

    @model_validator(mode="after")
    def _ends(self) -> Self:
        last = self.turns[-1]
        if last.use and last.answer is None and not self.repeat:
            raise ValueError("the last turn must answer or end with text, unless `repeat: true` is meant")
        return self


class Scenario(_Part):
    """Everything the model will say."""

    name: str
    about: str = ""
    sessions: tuple[Session, ...] = Field(min_length=1)
    source: str = "scenario"  # where it was read, for errors


def load(name: str) -> Scenario:
    """Read a scenario that ships with claudetm by its name, or any other by its path. Raises ConfigError."""
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        path = Path(str(files("claudetm.testing"))) / "scenarios" / f"{name}.yaml"
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ConfigError(f"There is no scenario {name}; known are {', '.join(shipped())}, or give a path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The scenario {path} cannot be read: {error}.") from error


def shipped() -> tuple[str, ...]:
    """Return the names of the scenarios that ship."""
    folder = files("claudetm.testing") / "scenarios"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def parse(text: str, source: str) -> Scenario:
    """Return the scenario of a YAML text; `source` names it in errors. Raises ConfigError with the line."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not YAML: {' '.join(str(error).split())}.") from error
    for line, key in _repeated(root):
        raise ConfigError(f"{source}:{line}: the key {key} stands twice.")
    if not isinstance(data, dict):
        raise ConfigError(f"{source}:1: a scenario is a mapping with `name` and `sessions`.")
    try:
        return Scenario.model_validate({**data, "source": source})
    except ValidationError as error:
        raise ConfigError(_sentence(error, root, source)) from error


def _sentence(error: ValidationError, root: yaml.Node | None, source: str) -> str:
    """Return the first thing wrong, as `file:line: path: reason.`."""
    found = error.errors(include_url=False)
    first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    line, path = _place(root, first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        reason = "unknown key"
    return f"{source}:{line}: {path}: {reason}."


def _repeated(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Yield line and name of each key that its mapping has already: YAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, key.value
            seen.add(str(key.value))
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)


def _place(node: yaml.Node | None, loc: tuple[int | str, ...]) -> tuple[int, str]:
    """Return line and path of the deepest node on the way that the file has."""
    line, path = 1, ""
    for step in loc:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == step), None)
            if found is not None:
                line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line, path.lstrip(".") or "scenario"
