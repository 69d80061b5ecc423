"""What a session whose driver died is charged: what its transcript shows, and never nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from claudetm.adapters.agent.transcript import charge

STARTED = {"type": "Started", "role": "worker", "model": "opus", "system": "s" * 2_000, "prompt": "p" * 1_000}


def _used(call: str, tokens: int) -> dict[str, Any]:
    return {"type": "Used", "call": call, "model": "claude-opus-4-5", "tokens": {"input_tokens": tokens}}


def _charged(folder: Path, *lines: dict[str, Any]) -> float:
    (folder / "session-s1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    usage = charge(folder, "s1")
    assert usage is not None
    return usage.cost_usd


def test_a_session_killed_before_its_first_call_reported_is_charged_what_it_sent(tmp_path: Path) -> None:
    assert 0 < _charged(tmp_path, STARTED) < 0.1


def test_calls_that_reported_are_charged_instead(tmp_path: Path) -> None:
    assert _charged(tmp_path, STARTED, _used("m1", 100_000), _used("m1", 200_000)) == 1.0


def test_a_conversation_carried_on_is_charged_for_itself_alone(tmp_path: Path) -> None:
    assert 0 < _charged(tmp_path, STARTED, _used("m1", 200_000), STARTED) < 0.1


def test_without_a_transcript_nothing_is_known(tmp_path: Path) -> None:
    assert charge(tmp_path, "s1") is None
