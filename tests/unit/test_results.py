"""Results as files: their keys are what users' scripts read, and what is damaged is said in a sentence."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from claudetm.adapters.store.results import FileResults
from claudetm.errors import StoreError
from claudetm.ports.results import Kept
from claudetm.ports.source import Job, Mode, Output, Result, Status

JOB = Job("fix-it", "directory", "Fix it.", "Fix it", Mode.SESSION)
RESULT = Result(
    "fix-it",
    Status.COMPLETED,
    1_700_000_000.0,
    1_700_000_001.5,
    1_700_000_060.0,
    3,
    Output("Fixed.", "raw\ud800", {"input_tokens": 7}, 0.25, 93, "good", ({"kind": "branch", "name": "b"},), "r1"),
    retries=2,
)


@pytest.fixture
def results(tmp_path: Path) -> FileResults:
    (tmp_path / "results").mkdir()
    return FileResults(tmp_path / "results")


def test_a_result_has_the_keys_that_scripts_read(results: FileResults) -> None:
    results.write(RESULT, JOB)
    data = json.loads((results.root / "fix-it.json").read_text(encoding="utf-8"))
    assert data == {
        "task_id": "fix-it",
        "status": "completed",
        "created_at": "2023-11-14T22:13:20.000+00:00",
        "started_at": "2023-11-14T22:13:21.500+00:00",
        "completed_at": "2023-11-14T22:14:20.000+00:00",
        "queue_position": 3,
        "worker_output": {
            "summary": "Fixed.",
            "raw_output": "raw?",
            "usage": {"input_tokens": 7},
            "cost_usd": 0.25,
        },
        "audit_score": 93,
        "audit_notes": "good",
        "artifacts": [{"kind": "branch", "name": "b"}],
        "error": "",
        "retry_count": 2,
        "title": "Fix it",
        "source": "directory",
        "mode": "session",
        "run": "r1",
        "repository": "",
        "schema": 1,
    }
    assert datetime.fromisoformat(data["created_at"]).tzinfo is not None


def test_a_result_is_its_owners_alone_and_written_again_the_same(results: FileResults) -> None:
    results.write(RESULT, JOB)
    path = results.root / "fix-it.json"
    before = path.read_bytes()
    results.write(RESULT, JOB)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in results.root.iterdir()] == ["fix-it.json"]


def test_a_folder_that_is_gone_is_not_made_anew_for_one_result(results: FileResults) -> None:
    """In an empty one no other task would have ended."""
    results.root.rmdir()
    with pytest.raises(StoreError, match="is not there, and results are kept in it: put it back"):
        results.write(RESULT, JOB)
    assert not results.root.exists()


def test_what_is_kept_is_read_back(results: FileResults) -> None:
    assert (results.ended("fix-it"), results.read("fix-it")) == (False, None)
    results.write(RESULT, JOB)
    assert results.ended("fix-it")
    assert results.read("fix-it") == Kept("fix-it", Status.COMPLETED, "directory", 2)


def test_a_result_that_is_set_aside_lets_the_task_run_again_and_is_kept(results: FileResults) -> None:
    results.write(RESULT, JOB)
    assert results.replace("fix-it")
    assert not results.ended("fix-it")
    assert not results.replace("fix-it")
    (kept,) = (results.root / "replaced").iterdir()
    assert json.loads(kept.read_text())["task_id"] == "fix-it"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe\x00", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it does not say task_id fix-it"),
        (b'{"task_id": "another"}', "it does not say task_id fix-it"),
        (b'{"task_id": "fix-it", "status": "splendid"}', "its status is none that is known"),
        (
            b'{"task_id": "fix-it", "status": "failed", "retry_count": "x"}',
            "retry_count, source or repository is of a wrong kind",
        ),
    ],
)
def test_a_damaged_result_is_refused_in_a_sentence_and_has_still_ended(
    results: FileResults, content: bytes, why: str
) -> None:
    (results.root / "fix-it.json").write_bytes(content)
    with pytest.raises(StoreError, match=why) as refused:
        results.read("fix-it")
    assert "remove it to let the task run again" in str(refused.value)
    assert results.ended("fix-it")


def test_a_pipe_in_place_of_a_result_is_not_waited_for(results: FileResults) -> None:
    os.mkfifo(results.root / "fix-it.json")
    with pytest.raises(StoreError, match="it is no file"):
        results.read("fix-it")


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "x" * 200, "a\nb"])
def test_a_name_that_no_task_can_have_reaches_no_file(results: FileResults, name: str) -> None:
    with pytest.raises(StoreError, match="is no task's name"):
        results.ended(name)


def test_a_link_in_place_of_a_result_is_not_followed_when_it_is_written(results: FileResults, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("theirs")
    (results.root / "fix-it.json").symlink_to(other)
    assert results.ended("fix-it")
    results.write(RESULT, JOB)
    assert other.read_text() == "theirs"
    assert not (results.root / "fix-it.json").is_symlink()
