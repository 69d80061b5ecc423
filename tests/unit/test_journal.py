"""The journal on a file: what a kill, a full disk and a flipped bit leave of it."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claudetm.adapters.store.journal import FileJournal, encode, repair
from claudetm.adapters.store.lock import Lock, acquire
from claudetm.errors import JournalError, LockLost, StoreError
from claudetm.testing.store_conformance import record, write
from claudetm.workflow.records import SCHEMA, Record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Lock]:
    with acquire(tmp_path / "lock", "run-1") as held:
        yield held


@pytest.fixture
def journal(path: Path, lock: Lock) -> Iterator[FileJournal]:
    opened = FileJournal(path, lock)
    yield opened
    opened.close()


def lines(count: int) -> list[bytes]:
    return [encode(record(seq, {"text": f"event {seq}"})) for seq in range(1, count + 1)]


def seqs(path: Path) -> list[int]:
    return [r.seq for r in FileJournal(path).read()]


def test_a_tail_torn_at_any_byte_is_dropped_by_the_holder_and_ignored_by_readers(path: Path, lock: Lock) -> None:
    *good, last = lines(3)
    for length in range(1, len(last)):
        path.write_bytes(b"".join(good) + last[:length])
        assert seqs(path) == [1, 2]
        assert path.stat().st_size == len(b"".join(good)) + length
        said: list[str] = []
        holder = FileJournal(path, lock, warn=said.append)
        write(holder, [record(3)])
        holder.close()
        assert seqs(path) == [1, 2, 3]
        assert said == [f"{path}: dropped {length} bytes of an event that was being written when the driver died"]


def test_a_first_line_torn_at_any_byte_leaves_an_empty_journal(path: Path) -> None:
    (only,) = lines(1)
    for length in range(1, len(only)):
        path.write_bytes(only[:length])
        assert seqs(path) == []


def test_zeros_that_a_power_cut_left_are_a_torn_tail(path: Path) -> None:
    for tail in (b"\0" * 40, lines(3)[2][:20] + b"\0" * 40 + b"\n"):
        path.write_bytes(b"".join(lines(2)) + tail)
        assert seqs(path) == [1, 2]


def test_a_whole_last_line_that_is_damaged_is_refused_because_it_was_acknowledged(path: Path) -> None:
    good = b"".join(lines(3))
    path.write_bytes(good[:-30] + b"#" + good[-29:])
    with pytest.raises(JournalError, match=r"journal\.jsonl: line 3 is damaged; claudetm doctor --repair"):
        seqs(path)


def test_any_flipped_byte_in_the_middle_is_refused_with_its_line(path: Path) -> None:
    first, middle, last = lines(3)
    for at in range(len(middle) - 1):
        flipped = bytearray(middle)
        flipped[at] ^= 0x10
        path.write_bytes(first + bytes(flipped) + last)
        with pytest.raises(JournalError, match=r"line 2 is damaged; claudetm doctor --repair"):
            seqs(path)


@pytest.mark.parametrize(
    ("order", "line", "found"), [([1, 3], 2, 3), ([1, 2, 2], 3, 2), ([2], 1, 2), ([1, 2, 1], 3, 1)]
)
def test_gaps_and_repetitions_are_damage(path: Path, order: list[int], line: int, found: int) -> None:
    path.write_bytes(b"".join(encode(record(seq)) for seq in order))
    with pytest.raises(JournalError, match=rf"line {line} holds event {found} where {line} belongs"):
        seqs(path)


def test_a_newer_schema_is_refused_and_not_repaired(path: Path, lock: Lock) -> None:
    newer = Record(2, 1.0, "Unheard", ("a", "b"), {}, schema=SCHEMA + 1)
    content = lines(1)[0] + encode(newer)
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"written by a newer claudetm .*upgrade claudetm"):
        seqs(path)
    with pytest.raises(JournalError, match="newer"):
        repair(path, lock)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content", [b"hello\n", b"{}\n", b'{"a": 1}\n{"b": 2}\n', b"not json", b"\n", b"\x89PNG\r\n"]
)
def test_a_foreign_file_is_refused_and_left_alone(path: Path, lock: Lock, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match="is no claudetm journal"):
        write(FileJournal(path, lock), [record(1)])
    with pytest.raises(JournalError, match="is no claudetm journal"):
        repair(path, lock)
    assert path.read_bytes() == content


def test_a_full_disk_leaves_the_journal_as_it_was_and_usable(path: Path, journal: FileJournal) -> None:
    write(journal, [record(1), record(2)])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))  # part of the line still fits
    try:
        with pytest.raises(StoreError, match=r"journal\.jsonl cannot be written: File too large"):
            write(journal, [record(3)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    write(journal, [record(3)])
    assert seqs(path) == [1, 2, 3]


def test_an_append_that_skips_a_number_is_refused(journal: FileJournal, path: Path) -> None:
    write(journal, [record(1)])
    with pytest.raises(JournalError, match="event 3 cannot follow event 1"):
        write(journal, [record(3)])
    assert seqs(path) == [1]


def test_nothing_is_written_without_the_lock(path: Path) -> None:
    with pytest.raises(LockLost, match="without the lock"):
        write(FileJournal(path), [record(1)])
    assert not path.exists()


def test_a_lock_file_replaced_under_the_holder_ends_its_writing(path: Path, lock: Lock, journal: FileJournal) -> None:
    write(journal, [record(1)])
    lock.path.unlink()
    with pytest.raises(LockLost, match="deleted or replaced"):
        write(journal, [record(2)])
    lock.path.write_text("somebody else's")
    with pytest.raises(LockLost, match="deleted or replaced"):
        write(journal, [record(2)])
    assert seqs(path) == [1]


def test_a_journal_that_another_wrote_to_is_not_written(path: Path, journal: FileJournal) -> None:
    write(journal, [record(1)])
    with path.open("ab") as other:
        other.write(encode(record(2)))
    with pytest.raises(LockLost, match="another process"):
        write(journal, [record(2)])
    assert seqs(path) == [1, 2]


def test_a_journal_that_was_deleted_is_not_written_into_the_void(path: Path, journal: FileJournal) -> None:
    write(journal, [record(1)])
    path.unlink()
    with pytest.raises(LockLost, match="replaced"):
        write(journal, [record(2)])


def test_each_append_is_one_sync_and_the_new_file_one_more(journal: FileJournal) -> None:
    write(journal, [record(1)])
    assert journal.syncs == 2
    write(journal, [record(2), record(3)])
    assert journal.syncs == 4


def test_faults_stand_on_both_sides_of_a_durable_append(path: Path, lock: Lock) -> None:
    seen: list[tuple[str, list[int]]] = []
    journal = FileJournal(path, lock, faults=lambda point: seen.append((point, seqs(path))))
    write(journal, [record(1), record(2)])
    journal.close()
    assert seen == [
        ("before:1:MessageAdded", []),
        ("after:1:MessageAdded", [1]),
        ("before:2:MessageAdded", [1]),
        ("after:2:MessageAdded", [1, 2]),
    ]


def test_the_file_is_its_owners_alone(path: Path, journal: FileJournal) -> None:
    write(journal, [record(1)])
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_missing_directory_is_one_sentence(tmp_path: Path, lock: Lock) -> None:
    with pytest.raises(StoreError, match=r"gone.* cannot be written: No such file or directory"):
        write(FileJournal(tmp_path / "gone" / "journal.jsonl", lock), [record(1)])


def test_repair_keeps_a_copy_and_cuts_at_the_last_good_line(path: Path, lock: Lock) -> None:
    whole = lines(4)
    damaged = whole[0] + whole[1] + b"#" + whole[2] + whole[3]
    path.write_bytes(damaged)
    copy = repair(path, lock)
    assert copy is not None
    assert copy.read_bytes() == damaged
    assert copy.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == whole[0] + whole[1]
    assert repair(path, lock) is None


def test_repair_cuts_before_a_gap(path: Path, lock: Lock) -> None:
    path.write_bytes(b"".join(encode(record(seq)) for seq in (1, 2, 4, 5)))
    assert repair(path, lock) is not None
    assert seqs(path) == [1, 2]


CHILD = """
import asyncio, sys
from pathlib import Path
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from claudetm.testing.store_conformance import record
from claudetm.workflow.records import Record, SCHEMA

async def main():
    root = Path(sys.argv[1])
    journal = FileJournal(root / "journal.jsonl", acquire(root / "lock"))
    seq = max((r.seq for r in journal.read()), default=0)
    while True:
        seq += 1
        await journal.append(record(seq, {"text": "x" * 3000}))
        print(seq, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    path, said = tmp_path / "journal.jsonl", 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(acknowledged):
                said = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            said = max([said, *(int(line) for line in child.stdout.read().splitlines())])
        read = seqs(path)
        assert read == list(range(1, len(read) + 1))
        assert len(read) >= said > 0


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(st.dictionaries(st.text(max_size=8), json_values, max_size=4), min_size=1, max_size=5),
    command=st.text(max_size=10),
)
def test_any_data_comes_back_as_it_was(path: Path, lock: Lock, data: list[dict[str, object]], command: str) -> None:
    path.unlink(missing_ok=True)
    records = [record(seq, d, command) for seq, d in enumerate(data, 1)]
    journal = FileJournal(path, lock)
    write(journal, records)
    journal.close()
    assert list(FileJournal(path).read()) == records
    assert path.read_bytes().count(b"\n") == len(records)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), at=st.integers(0, 400))
def test_whatever_stands_in_the_file_is_read_in_order_or_refused(path: Path, content: bytes, at: int) -> None:
    whole = b"".join(lines(3))
    path.write_bytes(whole[:at] + content + whole[at + len(content) :])
    read: list[int] = []
    with contextlib.suppress(JournalError):
        read.extend(r.seq for r in FileJournal(path).read())
    assert read == list(range(1, len(read) + 1))


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the kernel does not count a process's reads")
def test_an_append_reads_nothing_of_a_long_journal(path: Path, journal: FileJournal) -> None:
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])

    write(journal, [record(seq, {"text": "x" * 3000}) for seq in range(1, 200)])
    before = bytes_read()
    write(journal, [record(200)])
    assert bytes_read() - before < path.stat().st_size / 10
