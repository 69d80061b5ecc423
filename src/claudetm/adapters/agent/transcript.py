"""A session's transcript: a line a message, written as it arrives, so that a session whose driver died is charged.

A line is a JSON object with the SDK's message under its type's name; `Started` opens each conversation of a session,
and `Used` says what one call of the model has used so far. Secrets are masked before anything is written.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from claudetm.redact import redact
from claudetm.workflow.outcomes import Usage

_MILLION: Final = 1_000_000

# US dollars a million tokens, in and out, as published; the first family that the model's name contains.
_PRICES: Final = (
    ("haiku", 1.0, 5.0),
    ("sonnet", 3.0, 15.0),
    ("opus-3", 15.0, 75.0),
    ("3-opus", 15.0, 75.0),
    ("opus-4-0", 15.0, 75.0),
    ("opus-4-1", 15.0, 75.0),
    ("opus-4-2", 15.0, 75.0),  # claude-opus-4-20250514
    ("opus-4", 5.0, 25.0),
    ("opus-5", 4.0, 20.0),
)
_DEAREST: Final = (15.0, 75.0)
_CHARACTERS: Final = 3  # of text to a token: few, as other languages and code take more tokens than English prose
_CACHE_READ, _CACHE_WRITE = 0.1, 1.25  # parts of the price of a token in


def estimate(model: str, tokens: Mapping[str, Any]) -> Usage:
    """Return what one call of the model used; its cost is an estimate at list price (an unknown model: the dearest).

    `tokens` is the `usage` of an API message. The CLI's own figure, in the result, stands where there is one.
    """
    price_in, price_out = next(((i, o) for name, i, o in _PRICES if name in model), _DEAREST)
    fresh, out, read, write = (
        int(tokens.get(key) or 0)
        for key in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    cost = (fresh + read * _CACHE_READ + write * _CACHE_WRITE) * price_in + out * price_out
    return Usage(cost / _MILLION, fresh, out, read, write, 1)


def result_usage(result: Mapping[str, Any]) -> Usage:
    """Return what the CLI's result says was used, subagents included (its `usage` alone leaves them out)."""
    models = [m for m in (result.get("model_usage") or {}).values() if isinstance(m, Mapping)]
    cost = result.get("total_cost_usd")
    total = Usage(
        sum(float(m.get("costUSD") or 0.0) for m in models) if cost is None else float(cost),
        *(
            sum(int(m.get(key) or 0) for m in models)
            for key in ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
        ),
    )
    return dataclasses.replace(total, turns=int(result.get("num_turns") or 0))


def spent(total: Usage, before: Usage, calls: Usage) -> Usage:
    """Return one conversation's share of the CLI's `total`, given what the session's last result said `before`.

    The CLI carries the sums of a resumed session on when it had ended in order, and begins anew when it was killed:
    the model's own calls in this conversation tell which.
    """
    tokens = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    rest = {name: getattr(total, name) - getattr(before, name) for name in (*tokens, "cost_usd")}
    if any(rest[name] < getattr(calls, name) for name in tokens) or rest["cost_usd"] < 0:
        return total
    return dataclasses.replace(total, **rest)


class Transcript:
    """The transcript of one session, open for appending. Mode 0600. `secrets` are masked wherever they stand."""

    def __init__(self, logs: Path, session: str, secrets: Sequence[str] = ()) -> None:
        self._secrets = secrets
        logs.mkdir(parents=True, exist_ok=True)
        self.path = _path(logs, session)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append one line. Values that JSON does not know are written as text."""
        line = json.dumps({"type": kind, **data}, default=str, ensure_ascii=False)
        os.write(self._file, redact(line, self._secrets).encode(errors="replace") + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def charge(logs: Path, session: str) -> Usage | None:
    """Return what the last conversation of the session used, or None where there is no transcript.

    The CLI's result where it came; else the sum over the model's calls, each counted once, at list price. Before the
    first call has reported, it is under way: then what it was sent counts.
    """
    return _read(logs, session)[0] if _path(logs, session).exists() else None


def reported(logs: Path, session: str) -> Usage:
    """Return the sums of the session's last result, which the CLI carries on when it is resumed."""
    return _read(logs, session)[1] if _path(logs, session).exists() else Usage()


def _read(logs: Path, session: str) -> tuple[Usage, Usage]:
    calls: dict[str, Usage] = {}
    result: Usage | None = None
    said = asked = Usage()
    for line in _lines(_path(logs, session)):
        match line.get("type"):
            case "Started":
                calls, result, asked = {}, None, _asked(line)
            case "Used":
                calls[str(line.get("call"))] = estimate(str(line.get("model")), line.get("tokens") or {})
            case "ResultMessage":
                total = result_usage(line)
                result, said = spent(total, said, sum(calls.values(), Usage())), total
            case _:
                pass
    if result is not None:
        return result, said
    return sum(calls.values(), Usage()) if calls else asked, said


def _asked(started: Mapping[str, Any]) -> Usage:
    """Return what the words of a conversation's opening cost to send: the least that its first call uses."""
    words = [started.get("system"), started.get("prompt"), *(started.get("says") or ())]
    tokens = sum(len(str(w)) for w in words if w) // _CHARACTERS
    return dataclasses.replace(estimate(str(started.get("model")), {"input_tokens": tokens}), turns=0)


def _path(logs: Path, session: str) -> Path:
    return logs / f"session-{session}.jsonl"


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the last one, torn by the kill
            if isinstance(line, dict):
                yield line
