"""What the one comment on an issue says: that it is claimed, how far it is, how it ended. Pure.

What others wrote (an agent, a program, a stranger) is quoted: it hides nothing, closes nothing, calls nobody and
shows no secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from claudetm.adapters.sources.github.claims import Claim, Sign, State
from claudetm.ports.source import Note, Result, Status
from claudetm.redact import printable, redact

MOST: Final = 60_000
"""Bytes of a comment; GitHub takes 65,536 characters."""

_LONG: Final = 20_000  # bytes of a summary or an error
_SHORT: Final = 2_000  # of a note
_NAME: Final = 100  # characters of a name
_ARTIFACTS: Final = 50
_LOCAL: Final = "log"  # its name is a path of the monitor's machine
_ADDRESS: Final = re.compile(r"https?://[^\s<>()\[\]`\"'|]{1,300}")
Harmless = Callable[[str], str]
"""Makes words that would call somebody or close an issue harmless."""


class Wording:
    """The texts of one monitor's comments, each ending in its sign."""

    def __init__(self, label: str, harmless: Harmless) -> None:
        """Take the label that makes an issue a task."""
        self._label = code(label)
        self._harmless = harmless

    def claiming(self, sign: Sign, dead: tuple[Claim, ...]) -> str:
        """Say that the issue is about to be taken, and from whom."""
        return _whole(sign, f"claudetm is about to take this issue ({_who(sign)}).", *map(_had, dead))

    def working(self, sign: Sign, note: Note | None, link: str, dead: tuple[Claim, ...] = ()) -> str:
        """Say how far it is, and whom it was taken over from."""
        facts = [f"Stage: {code(note.stage)}" if note else "", _cost(note.cost_usd) if note else "", _link(link)]
        return _whole(
            sign,
            f"**claudetm is working on this issue** ({_who(sign)}).",
            " · ".join(filter(None, facts)),
            "**It waits for a person.**" if note and note.waiting else "",
            self._quote(note.text, _SHORT) if note else "",
            *map(_had, dead),
            f"Taking the label {self._label} off, or closing the issue, stops it.",
            f"Last sign of life: {hour(sign.beat)}.",
        )

    def given(self, sign: Sign, why: str) -> str:
        """Say that nobody has it any more."""
        return _whole(sign, f"claudetm has given this issue back ({_who(sign)}).", self._quote(why, _SHORT))

    def ended(self, sign: Sign, result: Result) -> str:
        """Say how it ended."""
        output = result.output
        good = result.status is Status.COMPLETED
        score = f"audit: {output.score} of 100" if output.score is not None else ""
        return _whole(
            sign,
            f"**claudetm: {'done' if good else 'failed'}** ({_who(sign)}).",
            " · ".join(filter(None, (score, _cost(output.cost_usd)))),
            "\n".join(_artifact(a) for a in output.artifacts[:_ARTIFACTS] if a.get("kind") != _LOCAL),
            self._quote(result.error, _LONG),
            self._quote(output.summary, _LONG),
            f"What the audit notes:\n\n{self._quote(output.notes, _LONG // 2)}" if output.notes.strip() else "",
            f"Put the label {self._label} on it again for another attempt.",
        )

    def _quote(self, text: str, most: int) -> str:
        """Return others' words as a quotation, so that no fence of theirs reaches beyond it."""
        shown = self._harmless(printable(redact(text))).replace("<", "&lt;").strip()
        return "\n".join(f"> {line}" for line in _cut(shown, most).splitlines())


def code(text: str) -> str:
    """Return a name as code, on one line."""
    plain = printable(redact(text[: 10 * _NAME])).replace("`", "'")
    return f"`{' '.join(plain.split())[:_NAME]}`"


def hour(at: float) -> str:
    """Return a moment for people: GitHub shows comments to all time zones."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _who(sign: Sign) -> str:
    return f"monitor {code(sign.monitor)}{f', attempt {sign.turn}' if sign.turn > 1 else ''}"


def _had(dead: Claim) -> str:
    left = " A pull request of its run may be open still: merge it, or close it." if dead.sign.linked else ""
    return f"Monitor {code(dead.sign.monitor)} had it, and was last heard of at {hour(dead.updated)}.{left}"


def _cost(usd: float) -> str:
    return f"${usd:.2f}" if usd else ""


def _link(address: str) -> str:
    address = redact(address)
    return f"pull request: {address}" if _ADDRESS.fullmatch(address) else ""


def _artifact(told: Mapping[str, str]) -> str:
    """Return a line of what came of it: a pull request, a branch, a snapshot."""
    kind = told.get("kind", "").replace("_", " ") or "result"
    address = redact(told.get("url", ""))
    where = address if _ADDRESS.fullmatch(address) else code(told.get("name", ""))
    return f"- {kind}: {where}"


def _whole(sign: Sign, *parts: str) -> str:
    """Return the comment: what it says, cut to what GitHub takes, and its sign."""
    return f"{_cut(chr(10).join([chr(10).join((p, '')) for p in parts if p]).rstrip(), MOST)}\n\n{sign.line}"


def _cut(text: str, most: int) -> str:
    whole = text.encode(errors="replace")
    return text if len(whole) <= most else f"{whole[: most - 3].decode(errors='ignore')}…"


def state_of(result: Result) -> State:
    """Return what a result makes of the claim."""
    return State.DONE if result.status is Status.COMPLETED else State.FAILED
