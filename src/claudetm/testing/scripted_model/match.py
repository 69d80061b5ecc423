"""Which turn of a scenario answers a request. Pure: the same request always gets the same turn.

The ids of our tool calls name session and turn, and the CLI sends them back with their results: the conversation
itself says how far it has come, also after a kill and a resume. The CLI writes its transcript about 0.1 s late, so a
killed session may resume some turns back: what a turn does must be harmless when it is done again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from claudetm.testing.scripted_model.scenario import Scenario, Session, Turn, Use

_ROLE: Final = re.compile(r"You are the (\w+) of claudetm")
_SUBJECT: Final = re.compile(r"^Subject: (\S+)", re.MULTILINE)
_CWD: Final = re.compile(r"(?:Primary working|Working) directory: (.+)")
_PLAYED: Final = re.compile(r"toolu_s(\d+)t(\d+)u(\d+)_(\d+)")
# How the CLI words the result of a tool that a stop, a kill or a signal broke off.
_STOPPED: Final = (
    "[Tool call ",
    "[Tool result missing",
    "The user doesn't want to",
    "Exit code 137",
    "Exit code 143",
)
_COMPACTION: Final = "an <analysis> block followed by a <summary> block"
_REMINDER: Final = "<system-reminder>"


@dataclass(frozen=True, slots=True)
class Play:
    """The turn that answers, its strings filled in. `call` keeps tool ids of one conversation apart."""

    session: Session
    session_at: int
    turn: Turn
    turn_at: int
    subject: str
    call: int

    def tool_id(self, at: int) -> str:
        """Return the id of the turn's tool call number `at`."""
        return f"toolu_s{self.session_at}t{self.turn_at}u{at}_{self.call}"


@dataclass(frozen=True, slots=True)
class Side:
    """A request of the CLI's own: a title, a quota probe, a summary of a long conversation. `text` answers it."""

    text: str = "scripted model: side request"


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A request the scenario has no answer for."""

    reason: str


def choose(scenario: Scenario, body: Mapping[str, Any]) -> Play | Side | Unexpected:
    """Return what answers a body of POST /v1/messages."""
    role = _ROLE.search(_text(body.get("system")))
    if role is None:
        if not body.get("tools"):
            return Side()
        return Unexpected(f"{scenario.source} expects no request without a role of claudetm in its system prompt.")
    messages = body["messages"]
    if any(_COMPACTION in text for text in _said(messages[-1:])):
        return Side("")  # without a summary the CLI gives up, and the conversation ends as too long
    said = "\n".join(_said(messages))
    subject = _SUBJECT.search(said)
    if subject is None:
        return Unexpected(f"The {role[1]}'s prompt has no line `Subject: …` ({scenario.source}).")
    for at, session in enumerate(scenario.sessions):
        if _fits(session, role[1], subject[1], said):
            return _next(scenario, at, body, subject[1], said)
    return Unexpected(f"{scenario.source} has no session for the {role[1]} on {subject[1]}.")


def _fits(session: Session, role: str, subject: str, said: str) -> bool:
    return session.role == role and fnmatchcase(subject, session.subject) and all(t in said for t in session.contains)


def _next(scenario: Scenario, at: int, body: Mapping[str, Any], subject: str, said: str) -> Play | Unexpected:
    session = scenario.sessions[at]
    words = {"subject": subject, "cwd": _cwd(body)}
    for name, pattern in session.find.items():
        if (found := pattern.search(said)) is None:
            told = f"the {session.role} on {subject} was told nothing like {pattern.pattern}"
            return Unexpected(f"{scenario.source}: {told}.")
        words[name] = found[1]
    turns = [_filled(t, words) for t in session.turns]
    reached = _reached(turns, at, body["messages"])
    turn_at = min(reached, len(turns) - 1)
    call = sum(m["role"] == "assistant" for m in body["messages"])
    return Play(session, at, turns[turn_at], turn_at, subject, call)


def _reached(turns: Sequence[Turn], at: int, messages: list[Any]) -> int:
    """Return the number of turns that are over: every tool has its result, or the text was said."""
    reached, playing = 0, (-1, -1)
    done: set[int] = set()
    for number, message in enumerate(messages):
        for turn, use, call, block in _calls(message, at):
            at_turn = min(turn, len(turns) - 1)
            if (turn, call) != playing:
                reached, playing, done = at_turn, (turn, call), set()
            if block["type"] == "tool_result" and not _broken_off(block, messages[number:]):
                done.add(use)
            if len(done) >= len(turns[at_turn].uses):
                reached = at_turn + 1
        if reached < len(turns) and _is_said(turns[reached], message):
            reached += 1
    return reached


def _calls(message: Mapping[str, Any], at: int) -> Iterator[tuple[int, int, int, Any]]:
    """Yield turn, tool, request and block of each of session `at`'s tool calls and results in the message."""
    for block in _blocks(message["content"]):
        if played := _PLAYED.fullmatch(block.get("id") or block.get("tool_use_id") or ""):
            session, turn, use, call = map(int, played.groups())
            if session == at:
                yield turn, use, call, block


def _broken_off(result: Mapping[str, Any], since: Sequence[Any]) -> bool:
    """Whether the tool was stopped in the middle, by a stop or a signal, and the session resumed by a new prompt."""
    ended = _text(result.get("content")).startswith(_STOPPED)
    return ended and bool(result.get("is_error")) and any(True for _ in _said(since))


def _is_said(turn: Turn, message: Mapping[str, Any]) -> bool:
    return not turn.uses and message["role"] == "assistant" and _text(message["content"]) == turn.say


def _said(messages: Sequence[Any]) -> Iterator[str]:
    """Yield what the user said: no tool results, and no reminders of the CLI."""
    for message in messages:
        if message["role"] == "user":
            texts = (b["text"] for b in _blocks(message["content"]) if b.get("type") == "text")
            yield from (t for t in texts if not t.lstrip().startswith(_REMINDER))


def _cwd(body: Mapping[str, Any]) -> str:
    """Return the session's working directory: the last one the CLI or our prompt names, "." where none is."""
    texts = [_text(body.get("system")), *(_text(m["content"]) for m in body["messages"] if m["role"] != "assistant")]
    found = [line for text in texts for line in _CWD.findall(text)]
    return found[-1].strip() if found else "."


def _blocks(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def _text(content: Any) -> str:
    return "\n".join(b["text"] for b in _blocks(content) if b.get("type") == "text")


def _filled(turn: Turn, words: Mapping[str, str]) -> Turn:
    """Return the turn with `{cwd}`, `{subject}` and what was found in place; other braces stay."""
    use = tuple(Use(tool=u.tool, input=_fill(u.input, words)) for u in turn.use)
    return turn.model_copy(update={"use": use, "answer": _fill(turn.answer, words), "say": _fill(turn.say, words)})


def _fill(value: Any, words: Mapping[str, str]) -> Any:
    match value:
        case str():
            return re.sub(r"\{(\w+)\}", lambda m: words.get(m[1], m[0]), value)
        case dict():
            return {k: _fill(v, words) for k, v in value.items()}
        case list():
            return [_fill(v, words) for v in value]
        case _:
            return value
