"""The queue's table, its fold, and the journal that it is folded from."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from claudetm.adapters.store.compaction import compact
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from claudetm.intake import events as e
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.queue import fold, survivors
from claudetm.intake.transitions import TABLE, IllegalEvent, markdown
from claudetm.intake.writer import QueueWriter
from claudetm.ports.source import FINAL, Job, Lane, Material, Mode, Output, Result, Status
from claudetm.testing.memory import FakeClock, MemoryJournal

JOB = Job(
    "a",
    "memory",
    "text \ud800 \u2028",
    "A title",
    Mode.SESSION,
    5.0,
    (Material("from others", "text"),),
    settings={"limits.cost_usd": 2},
    handle={"path": "x", "deep": [1, None]},
)
RESULT = Result(
    "a", Status.COMPLETED, 1.0, 2.0, 3.0, 1, Output("s", "r", {"t": 1}, 0.5, 90, "n", ({"kind": "log", "name": "x"},))
)
FAILED = Result("a", Status.FAILED, 1.0, 2.0, 3.0, 1, error="why")


def queued(id_: str, priority: int = 0) -> e.JobQueued:
    return e.JobQueued(id_, "memory", f"Do {id_}", 1.0, priority, Lane.WORK, 1)


def writer(journal: MemoryJournal | FileJournal | None = None) -> QueueWriter:
    return QueueWriter(journal or MemoryJournal(), FakeClock(), lambda: None)


def write(to: QueueWriter, *events: e.Event) -> None:
    async def append() -> None:
        for event in events:
            await to.append(event)

    asyncio.run(append())


def job(id_: str) -> Job:
    return Job(id_, "memory", "Do it.")


def whole(id_: str) -> list[e.Event]:
    """What a job leaves in the journal that goes as it should."""
    result = Result(id_, Status.COMPLETED, 1.0, 2.0, 3.0, 1)
    return [queued(id_), e.JobClaimed(id_, job(id_)), e.JobCompleted(id_, result), e.JobReported(id_)]


def test_every_event_of_a_job_stands_in_the_table() -> None:
    there = {event for rows in TABLE.values() for event in rows} | {e.JobQueued}
    assert there == {c for c in e.EVENTS.values() if issubclass(c, e.JobEvent)}


def test_every_status_has_its_row_and_what_has_ended_only_leaves() -> None:
    assert set(TABLE) == set(Status)
    assert all(TABLE[status] == {e.JobReported: None} for status in FINAL)
    assert "| running | JobWaiting, JobResumed -> running" in markdown()


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([e.JobClaimed("a", JOB)], "There is no task a."),
        ([queued("a"), queued("a")], "Task a is queued already."),
        ([queued("a"), e.JobReported("a")], "JobReported is not possible while task a is queued."),
        ([queued("a"), e.JobClaimed("a", job("b"))], "The claim is of b, not of a."),
        ([queued("a"), e.JobFailed("a", RESULT)], "A failed task cannot have a result that is completed."),
        (
            [queued("b"), e.JobClaimed("b", job("b")), e.JobCompleted("b", RESULT)],
            "The result of a is not the one of b.",
        ),
        (
            [queued("a"), e.JobClaimed("a", JOB), e.JobCompleted("a", FAILED)],
            "A completed task cannot have a result that is failed.",
        ),
        ([*whole("a"), e.JobReported("a")], "There is no task a."),
    ],
)
def test_what_the_table_does_not_hold_is_refused_and_changes_nothing(events: list[e.Event], sentence: str) -> None:
    journal = MemoryJournal()
    to = writer(journal)
    write(to, *events[:-1])
    before = list(journal.lines)
    with pytest.raises(IllegalEvent) as refused:
        write(to, events[-1])
    assert str(refused.value) == sentence
    assert journal.lines == before


def test_a_claim_and_a_result_come_back_from_the_journal_as_they_were() -> None:
    journal = MemoryJournal()
    write(writer(journal), queued("a"), e.JobClaimed("a", JOB), e.JobCompleted("a", RESULT))
    (entry,) = fold(journal.read()).concluded
    assert (entry.job, entry.result) == (JOB, RESULT)


def test_positions_follow_priority_then_arrival() -> None:
    to = writer()
    write(to, queued("a"), queued("b", 5), queued("c", -1), queued("d"))
    assert [x.id for x in to.queue.line()] == ["c", "a", "d", "b"]
    assert [to.queue.position(i) for i in "abcdz"] == [2, 4, 1, 3, 0]
    assert [to.queue.position_for(p) for p in (-2, -1, 0, 5, 6)] == [1, 2, 4, 5, 5]
    write(to, e.JobRanked("b", -5))
    assert to.queue.position("b") == 1


def test_what_is_given_back_keeps_its_place() -> None:
    to = writer()
    write(to, queued("a"), queued("b"), e.JobClaimed("a", JOB), e.JobGivenBack("a", "the monitor stops"))
    assert [x.id for x in to.queue.line()] == ["a", "b"]
    assert to.queue.jobs["a"].ours is None


def test_the_memory_is_as_large_as_what_is_open() -> None:
    to = writer()
    for n in range(300):
        write(to, *whole(f"t{n}"))
    write(to, queued("open"))
    assert list(to.queue.jobs) == ["open"]
    assert to.queue.held == to.queue.concluded == []
    assert (to.queue.completed, to.queue.failed) == (300, 0)


def test_answers_to_commands_are_remembered_for_a_while() -> None:
    to = writer()

    async def append() -> None:
        for n in range(150):
            await to.append(e.CommandTaken("retry", "a", "why not"), f"c{n}")

    asyncio.run(append())
    assert list(to.queue.answers) == [f"c{n}" for n in range(50, 150)]


def test_an_old_journal_is_folded_by_its_own_edges() -> None:
    journal = MemoryJournal()
    write(writer(journal), queued("a"), e.JobClaimed("a", JOB))
    line = journal.lines[-1].replace("JobClaimed", "JobTakenBySomeLaterVersion")
    journal.lines[-1] = line
    assert fold(journal.read()).jobs["a"].status is Status.RUNNING


def test_pauses_double_to_a_quarter_of_an_hour_and_differ_by_job() -> None:
    policy = MonitorPolicy()
    pauses = [policy.pause("a", n) for n in range(1, 40)]
    assert 22 <= pauses[0] <= 38
    assert all(670 <= p <= 900 for p in pauses[6:])
    assert pauses == [policy.pause("a", n) for n in range(1, 40)]
    assert len({policy.pause(f"t{n}", 1) for n in range(50)}) == 50


# --- compaction ----------------------------------------------------------------------------------------------


def _large(path: Path) -> None:
    with acquire(path.with_name("lock")) as lock:
        journal = FileJournal(path, lock)
        to = writer(journal)
        for n in range(60):
            write(to, *whole(f"t{n}"))
        write(to, queued("x"), queued("a"), e.JobClaimed("a", JOB), e.JobWaiting("a", "a review"), queued("y", -1))
        journal.close()


def test_a_large_journal_becomes_small_and_tells_the_same(tmp_path: Path) -> None:
    path = tmp_path / "queue.jsonl"
    _large(path)
    before = fold(FileJournal(path).read())
    size = path.stat().st_size
    with acquire(tmp_path / "lock") as lock:
        saved = compact(path, lock, survivors, larger_than=1000)
        assert saved == size - path.stat().st_size > 0
        after = fold(FileJournal(path).read())
        assert (after.completed, after.failed) == (60, 0)
        assert [x.id for x in after.line()] == [x.id for x in before.line()] == ["y", "x"]
        assert [(x.id, x.job, x.waiting) for x in after.held] == [("a", JOB, True)]
        journal = FileJournal(path, lock)
        write(writer(journal), e.JobResumed("a"))
        journal.close()
        assert compact(path, lock, survivors, larger_than=1 << 20) == 0
    assert (path.stat().st_mode & 0o777) == 0o600


def test_a_compaction_that_is_killed_leaves_the_old_journal_and_what_it_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "queue.jsonl"
    _large(path)
    content = path.read_bytes()
    child = os.fork()
    if child == 0:  # pragma: no cover - dies in the middle of its copy
        with acquire(tmp_path / "lock") as lock:

            def some(read: object) -> object:
                for n, record in enumerate(survivors(read)):  # type: ignore[arg-type]
                    if n == 3:
                        os._exit(9)
                    yield record

            compact(path, lock, some, larger_than=0)  # type: ignore[arg-type]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert path.read_bytes() == content
    assert list(tmp_path.glob(".queue.jsonl.*.tmp"))
    with acquire(tmp_path / "lock") as lock:
        compact(path, lock, survivors, larger_than=0)
    assert list(tmp_path.glob(".queue.jsonl.*.tmp")) == []
    assert len(path.read_bytes()) < len(content)


def test_no_journal_is_no_error(tmp_path: Path) -> None:
    with acquire(tmp_path / "lock") as lock:
        assert compact(tmp_path / "queue.jsonl", lock, survivors) == 0
