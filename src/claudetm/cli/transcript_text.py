"""A session's transcript as people read it: who said what, which tools were used, results cut."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from claudetm.cli.words import doing
from claudetm.redact import printable, redact

_LINES: Final = 12  # of one thing that was said
_RESULT_LINES: Final = 4  # of what a tool came back with
_WIDEST: Final = 160  # characters
_TELLING: Final = ("command", "file_path", "pattern", "path", "url", "query", "description")
_ANSWER: Final = "StructuredOutput"  # the tool that a session answers by
_ANSWERED: Final = "Structured output provided successfully"  # what it comes back with


def told(run: str, line: str) -> list[str]:
    """Return one line of a transcript in words, paths as from the worktree; none for what only the program needs."""
    try:
        message = json.loads(line)
    except ValueError:
        return []  # the last one, torn by a kill
    if not isinstance(message, dict):
        return []
    return [_cut(doing(run, text)) for text in _told(message) if text.strip()]


def _told(message: Mapping[str, Any]) -> Iterator[str]:
    match message.get("type"):
        case "Started":
            yield from _started(message)
        case "AssistantMessage":
            if error := message.get("error"):
                yield f"the service: {error}"
            for block in _blocks(message):
                yield from _said(block)
        case "UserMessage":
            for block in _blocks(message):
                yield from _came_back(block)
        case "SystemMessage" if message.get("subtype") in {"api_retry", "permission_denied", "compact_boundary"}:
            data = message.get("data") or {}
            why = data.get("tool_name") or data.get("error") or data.get("error_status") or ""
            yield f"the CLI: {str(message['subtype']).replace('_', ' ')} {why}"
        case "ResultMessage":
            cost = float(message.get("total_cost_usd") or 0.0)
            yield f"ended: {message.get('subtype')}, {message.get('num_turns')} turns, ${cost:.2f}"
        case _:
            pass


def _started(message: Mapping[str, Any]) -> Iterator[str]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(message.get("at") or 0.0)))
    yield f"{message.get('role')} ({message.get('model')}), {at}"
    for words in (message.get("prompt"), *(message.get("says") or ())):
        yield from _quoted("claudetm: ", str(words or ""), _LINES)


def _blocks(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"text": content}]
    return [b for b in content if isinstance(b, Mapping)] if isinstance(content, list) else []


def _said(block: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the agent said, or which tool it used. A block has no type here; its fields tell."""
    if "name" in block and "input" in block:
        given = block["input"] if isinstance(block["input"], Mapping) else {}
        if block["name"] == _ANSWER:
            yield from _quoted("answer: ", json.dumps(given, indent=1, ensure_ascii=False), _LINES)
        else:
            what = next((str(v) for k, v in given.items() if k in _TELLING and v), "")
            yield from _quoted(f"  {block['name']} ", what, _RESULT_LINES)
    elif text := block.get("text"):
        yield from _quoted("agent: ", str(text), _LINES)


def _came_back(block: Mapping[str, Any]) -> Iterator[str]:
    if "tool_use_id" not in block:
        yield from _quoted("claudetm: ", str(block.get("text") or ""), _LINES)
        return
    content = block.get("content")
    if isinstance(content, list):
        content = "\n".join(str(b.get("text", "")) for b in content if isinstance(b, Mapping))
    if content == _ANSWERED:
        return
    yield from _quoted("    ! " if block.get("is_error") else "    ", str(content or ""), _RESULT_LINES)


def _quoted(label: str, text: str, most: int) -> Iterator[str]:
    """Yield the text with its label before the first line, and as much room before the others."""
    lines = [line for line in printable(text).split("\n") if line.strip()]
    indent = " " * len(label)
    shown = lines if len(lines) == most + 1 else lines[:most]
    for i, line in enumerate(shown or [""]):
        yield f"{indent if i else label}{line}"
    if len(lines) > len(shown):
        yield f"{indent}… {len(lines) - len(shown)} more lines"


def _cut(text: str) -> str:
    clean = redact(printable(text)).rstrip().replace("\t", "    ").replace("\n", " ")
    return clean if len(clean) <= _WIDEST else f"{clean[: _WIDEST - 1]}…"
