"""The local forge's records: what refs cannot say. One JSON object a line, appended and fsynced under a lock.

The driver writes here, and so does a person through `claudetm review`; whoever appends has read all before it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any, Final

from claudetm.errors import ForgeError, JournalError
from claudetm.ports.forge import CheckLog, NewPullRequest, Note
from claudetm.redact import printable, redact
from claudetm.workflow.pull_request import Comment, Thread

US = "claudetm"
LOG_HEAD: Final = 64 * 1024
LOG_TAIL: Final = 192 * 1024


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check of a head, merged into a base, came out. `commands` names the settings it ran under."""

    name: str
    base: str
    commands: str
    ok: bool
    summary: str
    log: str
    command: str = ""
    how: str = ""


@dataclass(slots=True)
class PullRecord:
    """A pull request, folded from its records."""

    number: int
    change: str
    branch: str
    title: str
    body: str
    head: str  # when it was opened
    base: str  # when it was opened
    closed_by: str = ""
    merges: set[str] = field(default_factory=set)  # commits of ours by which it came into the base
    threads: dict[str, Thread] = field(default_factory=dict)
    markers: dict[str, str] = field(default_factory=dict)  # marker -> thread
    verdicts: dict[str, bool] = field(default_factory=dict)  # person -> approves
    results: dict[str, list[CheckResult]] = field(default_factory=dict)  # head -> in the order they came

    @property
    def approvals(self) -> int:
        """How many people let it through. An approval stays when commits come, as by GitHub's default."""
        return sum(self.verdicts.values())

    @property
    def objections(self) -> tuple[str, ...]:
        """Who asked for changes, and has not approved since."""
        return tuple(person for person, approves in self.verdicts.items() if not approves)

    @property
    def opposed(self) -> bool:
        """Whether somebody closed it or objects, or a conversation that is not closed is in the way of merging."""
        return bool(self.closed_by or self.objections) or any(t.stands for t in self.threads.values())


class Unknown(JournalError):  # noqa: N818 - what the matter is
    """A newer version wrote the records: they are not damaged."""


class ForgeJournal:
    """The records of one run's pull requests."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is made on the first append."""
        self.path = path
        self.pulls: dict[int, PullRecord] = {}
        self.at: dict[str, list[CheckResult]] = {}  # commit -> how checks came out at it alone
        self.seen = 0  # how long the file was when it was read last, a torn end included
        self._offset = 0
        self._lines = 0

    # reading

    def refresh(self) -> bool:
        """Read what was appended since; whether there was anything. Raises JournalError for a damaged line."""
        if not self.path.exists():
            return False
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole, newline, _torn = data.rpartition(b"\n")
        for line in whole.split(b"\n") if newline else ():
            self._lines += 1
            self._apply(self._parse(line))
        self.seen = self._offset + len(data)
        self._offset += len(whole) + len(newline)
        return bool(newline)

    def size(self) -> int:
        """Return how long the file is, in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def _parse(self, line: bytes) -> Mapping[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or "kind" not in record:
            raise JournalError(
                f"{self.path} is damaged at line {self._lines}; claudetm doctor --repair keeps a copy and leaves out "
                "what cannot be read."
            )
        return record

    def takes(self, line: bytes) -> bool:
        """Fold one line in; False for a damaged one, or one about what a damaged one said. Raises Unknown."""
        self._lines += 1
        try:
            self._apply(self._parse(line))
        except Unknown:
            raise
        except (JournalError, ForgeError, KeyError, TypeError, AttributeError):
            return False
        return True

    def pull(self, number: int) -> PullRecord:
        """Return a pull request. Raises ForgeError for an unknown number."""
        if number not in self.pulls:
            raise ForgeError(f"There is no pull request #{number} in this run.")
        return self.pulls[number]

    def newest(self, branch: str) -> PullRecord | None:
        """Return the newest pull request of a branch."""
        return next((p for p in reversed(self.pulls.values()) if p.branch == branch), None)

    def _apply(self, record: Mapping[str, Any]) -> None:
        """Fold one record in."""
        if record["kind"] == "opened":
            names = ("number", "change", "branch", "title", "body", "head", "base")
            self.pulls[record["number"]] = PullRecord(**{n: record[n] for n in names})
            return
        if record["kind"] == "checked_at":
            self.at.setdefault(record["base"], []).append(_result(record))
            return
        pull = self.pull(record["number"])
        match record["kind"]:
            case "noted":
                _note(pull, record)
            case "resolved":
                pull.threads[record["thread"]] = replace(pull.threads[record["thread"]], resolved=True)
            case "approved" | "objected":
                _judged(pull, record["by"], approves=record["kind"] == "approved")
            case "closed":
                pull.closed_by = record["by"]
            case "reopened":
                pull.closed_by = ""
            case "checked":
                pull.results.setdefault(record["head"], []).append(_result(record))
            case "merged":
                pull.merges.add(record["commit"])
            case "rerun":
                pull.results[record["head"]] = [r for r in pull.results.pop(record["head"], ()) if r.ok]
            case kind:
                raise Unknown(f"{self.path}: line {self._lines} is a {kind!r}, which this version does not know.")

    # writing

    def append(self, make: Callable[[], Mapping[str, Any] | None]) -> None:
        """Append the record that `make` builds from what is there now; None appends nothing. Raises ForgeError."""
        try:
            with self._locked() as file:
                self.refresh()
                if record := make():
                    self._write(file, record)
                    self.refresh()
        except OSError as e:
            raise ForgeError(f"{self.path} cannot be written: {e.strerror or e}.") from e

    def _write(self, file: IO[bytes], record: Mapping[str, Any]) -> None:
        file.truncate(self._offset)  # drops the torn end of a writer that was killed
        file.write(json.dumps({**record, "at": round(time.time(), 3)}).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def merged(self, number: int, commit: str) -> None:
        """Record, once, that the base was seen with a merge of ours in it."""
        known = self.pull(number).merges
        self.append(lambda: None if commit in known else {"kind": "merged", "number": number, "commit": commit})

    @contextmanager
    def unopposed(self, number: int) -> Iterator[bool]:
        """Keep everybody from writing for a moment; say whether nothing is in the way of merging.

        What was written before is seen, and what comes after finds it merged. Reads anew: threads may call it.
        """
        fresh = ForgeJournal(self.path)
        try:
            with fresh._locked():
                fresh.refresh()
                yield not fresh.pull(number).opposed
        except OSError as e:
            raise ForgeError(f"{self.path} cannot be written: {e.strerror or e}.") from e

    def open(self, new: NewPullRequest, base: str, seen: int) -> PullRecord:
        """Record a new pull request; `seen` is the number of the branch's newest one that is not open, or 0."""

        def make() -> Mapping[str, Any] | None:
            there = self.newest(new.branch)
            if there is not None and there.number != seen:
                return None
            return {"kind": "opened", "number": len(self.pulls) + 1, **asdict(new), "base": base}

        self.append(make)
        found = self.newest(new.branch)
        assert found is not None  # noqa: S101 - either was there, or was just written
        return found

    def note(self, number: int, note: Note, author: str = US, *, ours: bool = True) -> str:
        """Write a remark unless its marker is there; return its thread."""
        pull = self.pull(number)

        def make() -> Mapping[str, Any] | None:
            if note.marker and note.marker in pull.markers:
                return None
            if note.thread and note.thread not in pull.threads:
                raise ForgeError(f"There is no conversation {note.thread} on #{number}.")
            thread = note.thread or f"t{number}.{len(pull.threads) + 1}"
            where = {"path": note.path, "line": note.line, "blocking": note.blocking, "resolve": note.resolve}
            where |= {"seen": note.seen, "reopen": note.reopen}
            return {
                "kind": "noted",
                "number": number,
                "thread": thread,
                "marker": note.marker,
                "author": author,
                "ours": ours,
                "body": note.body,
                **where,
            }

        self.append(make)
        return pull.markers[note.marker] if note.marker else note.thread or next(reversed(pull.threads))

    def comment(self, number: int, author: str, body: str, *, thread: str = "", path: str = "", line: int = 0) -> str:
        """Write a person's remark; return its thread."""
        return self.note(number, Note("", body, thread, path, line), author, ours=False)

    def resolve(self, number: int, thread: str, by: str) -> None:
        """Close a conversation. Raises ForgeError for an unknown one, and for one that is other people's."""
        if thread not in self.pull(number).threads:
            raise ForgeError(f"There is no conversation {thread} on #{number}.")
        people = self.pull(number).threads[thread].people
        if people and by not in people:
            raise ForgeError(f"The conversation {thread} is {' and '.join(people)}'s: only they resolve it.")
        self._record("resolved", number, by, thread=thread)

    def approve(self, number: int, by: str) -> None:
        """Record that a person lets it through; their last word counts, also for what they began and we answered."""
        self._record("approved", number, by)

    def object_(self, number: int, by: str) -> None:
        """Record that a person asks for changes; their last word counts."""
        self._record("objected", number, by)

    def close(self, number: int, by: str) -> None:
        """Record that a person closed it unmerged."""
        self._record("closed", number, by)

    def reopen(self, number: int, by: str) -> None:
        """Record that a person opened it again."""
        self._record("reopened", number, by)

    def _record(self, kind: str, number: int, by: str, **more: str) -> None:
        self.refresh()
        self.pull(number)
        self.append(lambda: {"kind": kind, "number": number, "by": by, **more})

    def checked(self, number: int, head: str, result: CheckResult) -> None:
        """Record a check's result."""
        record = {"kind": "checked", "number": number, "head": head, **asdict(result)}
        self.append(lambda: record)

    def checked_at(self, result: CheckResult) -> None:
        """Record how a check came out at `result.base`, with nothing merged into it."""
        record = {"kind": "checked_at", **asdict(result)}
        self.append(lambda: record)

    def rerun(self, number: int, head: str) -> None:
        """Forget the failures of a head: those checks are due again."""
        self.append(lambda: {"kind": "rerun", "number": number, "head": head})


def _result(record: Mapping[str, Any]) -> CheckResult:
    return CheckResult(**{f.name: record[f.name] for f in fields(CheckResult) if f.name in record})


def _note(pull: PullRecord, record: Mapping[str, Any]) -> None:
    """Add a remark to its thread, or begin one."""
    name, asks, resolve = record["thread"], record["blocking"], record["resolve"]
    said = Comment(record["author"], record["body"], record["ours"])
    if old := pull.threads.get(name):
        seen, reopen = record.get("seen", 0), record.get("reopen", False)
        pull.threads[name] = old.with_reply(said, resolve=resolve, seen=seen, reopen=reopen)
    else:
        pull.threads[name] = Thread(name, (said,), record["path"], record["line"], resolve, asks, asks)
    if record["marker"]:
        pull.markers[record["marker"]] = name


def _judged(pull: PullRecord, person: str, *, approves: bool) -> None:
    """Take a person's verdict; who approves is content with the answers they have got."""
    pull.verdicts[person] = approves
    for name, thread in pull.threads.items():
        if approves and thread.people == (person,) and not thread.unanswered:
            pull.threads[name] = replace(thread, resolved=True)


@dataclass(frozen=True, slots=True)
class Sifted:
    """The lines of a file of records that can be read, and the numbers of those that cannot."""

    good: bytes
    damaged: tuple[int, ...]
    pulls: int


def sift(path: Path) -> Sifted:
    """Read the records one by one. A torn end is no damage: it was never acknowledged. Raises Unknown."""
    journal = ForgeJournal(path)
    good, damaged = [], []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            continue
        if journal.takes(line):
            good.append(line)
        else:
            damaged.append(number)
    return Sifted(b"".join(good), tuple(damaged), len(journal.pulls))


def repair(path: Path) -> tuple[Path, tuple[int, ...]]:
    """Leave the damaged records out; return the copy that was kept, and their line numbers. No driver may live.

    What stands behind them stays: an objection that was cut off with them would be overridden.
    """
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sifted = sift(path)
        copy = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)
        file.write(sifted.good)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    return copy, sifted.damaged


def log_of(result: CheckResult) -> CheckLog:
    """Return what a check wrote, as it may be shown."""
    return CheckLog(redact(printable(_ends(Path(result.log)))), result.log, result.command, result.how)


def _ends(log: Path) -> str:
    """Return a log, of a long one the lines at both ends."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        if (size := log.stat().st_size) <= LOG_HEAD + LOG_TAIL:
            return file.read().decode(errors="replace")
        head = file.read(LOG_HEAD).rpartition(b"\n")[0]
        file.seek(size - LOG_TAIL)
        tail = file.read().partition(b"\n")[2]
    cut = size - len(head) - len(tail)
    return f"{head.decode(errors='replace')}\n[{cut} bytes are left out here]\n{tail.decode(errors='replace')}"
