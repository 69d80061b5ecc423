"""A directory of tasks as people and programs really use it: real files, real watching, real processes that die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from claudetm.adapters.sources import task_file
from claudetm.adapters.sources.directory import DirectorySource
from claudetm.adapters.sources.task_file import Content, Found, Unsettled
from claudetm.adapters.sources.task_folder import DirectorySettings
from claudetm.bootstrap.clock import SystemClock
from claudetm.ports.source import Claimed, Taken

T = TypeVar("T")
PATIENCE = 30.0  # seconds for anything to come about, on a busy machine


class Place:
    def __init__(self, root: Path) -> None:
        self.root, self.tasks, self.results = root, root / "tasks", root / "results"
        self.tasks.mkdir()
        self.results.mkdir()
        self.notices: list[str] = []

    @contextlib.asynccontextmanager
    async def source(self, owner: str = "one") -> AsyncIterator[DirectorySource]:
        settings = DirectorySettings(self.tasks, self.results, self.root, owner=owner)
        source = DirectorySource(settings, SystemClock(), self.notices.append)
        try:
            yield source
        finally:
            await source.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, PATIENCE))


async def eligible(source: DirectorySource) -> list[str]:
    return [o.id for o in await source.list() if not o.why_not]


async def until(source: DirectorySource, wanted: Callable[[list[str]], bool]) -> list[str]:
    """Do as the monitor does, hint after hint, until what could be taken is what is wanted."""
    while not wanted(found := await eligible(source)):
        await source.hint()
    return found


async def text_of(source: DirectorySource, job: str) -> str:
    """Claim a job as the monitor does: whoever still writes it is awaited."""
    while isinstance(outcome := await source.claim(job), Taken):  # noqa: ASYNC110 - as a sweep does, again and again
        await asyncio.sleep(0.05)
    assert isinstance(outcome, Claimed), outcome
    return outcome.job.text


async def still_waits(hint: Awaitable[None]) -> bool:
    """Return whether a hint has not come in some looks' time."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(hint), 0.8)
        return False
    return True


# --- how soon ----------------------------------------------------------------------------------------------------


def written(path: Path) -> None:
    path.write_text("Do it")


def moved_into_place(path: Path) -> None:
    draft = path.with_name(".draft")
    draft.write_text("Do it")
    draft.rename(path)


@pytest.mark.parametrize("drop", [written, moved_into_place])
def test_a_file_that_is_dropped_can_be_claimed_within_a_second(place: Place, drop: Callable[[Path], None]) -> None:
    async def dropped() -> float:
        async with place.source() as source:
            await eligible(source)
            hint = asyncio.ensure_future(source.hint())
            await asyncio.sleep(1.1)  # it waits as on any idle day, and has just looked
            assert not hint.done()
            began = time.monotonic()
            drop(place.tasks / "task-a.md")
            await hint
            assert await eligible(source) == ["task-a"]
            assert isinstance(await source.claim("task-a"), Claimed)
            return time.monotonic() - began

    assert run(dropped()) < 1.0
    assert place.notices == []


def test_a_slow_writer_is_awaited(place: Place) -> None:
    async def slow() -> str:
        async with place.source() as source:
            await eligible(source)
            hint = asyncio.ensure_future(source.hint())
            with (place.tasks / "task-a.md").open("w") as file:
                for part in ("Do", " it", " slowly"):
                    file.write(part)
                    file.flush()
                    assert await still_waits(hint)
            await hint
            assert await eligible(source) == ["task-a"]
            return await text_of(source, "task-a")

    assert run(slow()) == "Do it slowly"


def test_a_burst_of_a_thousand_is_listed_whole_and_in_order(place: Place) -> None:
    names = [f"task-{n * 7919 % 1000:03}" for n in range(1000)]

    def burst() -> None:
        for n, name in enumerate(names):
            path = place.tasks / f"{name}.md"
            path.write_text(f"---\npriority: {n % 3}\n---\nDo {n}")
            stamp = time.time_ns()
            os.utime(path, ns=(stamp, stamp))

    async def found() -> list[str]:
        async with place.source() as source:
            await eligible(source)
            thread = threading.Thread(target=burst)
            thread.start()
            listed = await until(source, lambda ids: len(ids) == len(names))
            thread.join()
            return listed

    assert run(found()) == names


# --- how editors save --------------------------------------------------------------------------------------------


def nano(path: Path, text: str) -> None:
    with path.open("w") as file:  # in place
        file.write(text)


def vim(path: Path, text: str) -> None:
    probe = path.with_name("4913")
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    probe.unlink()
    path.with_name(f".{path.name}.swp").write_bytes(b"b0VIM 9.0")
    backup = path.with_name(f"{path.name}~")
    if path.exists():
        path.rename(backup)
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    backup.unlink(missing_ok=True)
    path.with_name(f".{path.name}.swp").unlink()


def vim_copying(path: Path, text: str) -> None:
    if path.exists():
        shutil.copy2(path, path.with_name(f"{path.name}~"))
    with path.open("w") as file:
        file.write(text)
    path.with_name(f"{path.name}~").unlink(missing_ok=True)


def emacs(path: Path, text: str) -> None:
    path.with_name(f".#{path.name}").symlink_to("someone@host.1:1")
    path.with_name(f"#{path.name}#").write_text(text[:2])
    if path.exists():
        path.rename(path.with_name(f"{path.name}~"))
    path.write_text(text)
    path.with_name(f"#{path.name}#").unlink()
    path.with_name(f".#{path.name}").unlink()


def gedit(path: Path, text: str) -> None:
    draft = path.with_name(".goutputstream-ABC123")
    draft.write_text(text)
    draft.rename(path)


def jetbrains(path: Path, text: str) -> None:
    draft, old = path.with_name(f"{path.name}___jb_tmp___"), path.with_name(f"{path.name}___jb_old___")
    draft.write_text(text)
    if path.exists():
        path.rename(old)
    draft.rename(path)
    old.unlink(missing_ok=True)


def sed(path: Path, text: str) -> None:
    draft = path.with_name("sedAbCdEf")
    draft.write_text(text)
    draft.replace(path)


def rsync(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.AbCdEf")
    draft.write_text(text)
    os.utime(draft, (1_600_000_000, 1_600_000_000))  # -t: the times of the other side
    draft.rename(path)


def vscode(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, text.encode())
    os.fsync(descriptor)
    os.close(descriptor)


EDITORS = [nano, vim, vim_copying, emacs, gedit, jetbrains, sed, rsync, vscode]


@pytest.mark.parametrize("save", EDITORS)
def test_an_editors_way_to_save_makes_one_task_with_what_was_saved_last(
    place: Place, save: Callable[[Path, str], None]
) -> None:
    path = place.tasks / "task-a.md"

    async def saved() -> str:
        async with place.source() as source:
            await eligible(source)
            save(path, "Do it")
            assert await until(source, bool) == ["task-a"]
            save(path, "Do it again, and better")
            text = await text_of(source, "task-a")
            await until(source, lambda ids: ids == ["task-a"])
            (place.results / "task-a.json").write_text("{}")
            save(path, "Do it a third time")
            assert await source.list() == []
            return text

    assert run(saved()) == "Do it again, and better"


def test_a_task_that_is_renamed_is_one_task(place: Place) -> None:
    async def renamed() -> list[str]:
        async with place.source() as source:
            (place.tasks / "task-a.md").write_text("Do it")
            await until(source, bool)
            (place.tasks / "task-a.md").rename(place.tasks / "task-b.md")
            return await until(source, lambda ids: ids == ["task-b"])

    assert run(renamed()) == ["task-b"]


# --- the folder --------------------------------------------------------------------------------------------------


def removed(place: Place) -> None:
    shutil.rmtree(place.tasks)


def replaced(place: Place) -> None:
    place.tasks.rename(place.root / "old")
    place.tasks.mkdir()


@pytest.mark.parametrize("lose", [removed, replaced])
def test_a_folder_that_is_lost_while_it_is_watched_is_watched_anew(
    place: Place, lose: Callable[[Place], None]
) -> None:
    async def lost() -> list[str]:
        async with place.source() as source:
            await eligible(source)
            hint = asyncio.ensure_future(source.hint())
            await asyncio.sleep(0)
            lose(place)
            while not place.notices:
                assert await still_waits(hint)
            (place.tasks / "task-a.md").write_text("Do it")
            await hint
            return await eligible(source)

    assert run(lost()) == ["task-a"]
    assert place.notices == [f"{place.tasks} was removed or replaced: the folder that is there now is watched."]


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


ALONE = """
import asyncio, sys, time
from pathlib import Path
from claudetm.adapters.sources.directory import DirectorySource
from claudetm.adapters.sources.task_folder import DirectorySettings
from claudetm.bootstrap.clock import SystemClock

{before}
root = Path(sys.argv[1])

async def main():
    settings = DirectorySettings(root / "tasks", root / "results", root)
    source = DirectorySource(settings, SystemClock(), lambda s: print("notice", s, flush=True))
    {work}

asyncio.run(main())
"""
HINTED = """await source.list()
    for _ in range(2):
        hint = asyncio.ensure_future(source.hint())
        await asyncio.sleep(0.1)
        print("waits", flush=True)
        await hint
        print("hint", [o.id for o in await source.list()], flush=True)"""


def alone(place: Place, before: str, work: str, *wrap: str) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", ALONE.format(before=before, work=work), str(place.root)]
    return subprocess.Popen([*wrap, *program], stdout=subprocess.PIPE, text=True)


def polled(place: Place, process: subprocess.Popen[str]) -> list[str]:
    """Return the lines of a source that is given one task, and a second once it has hinted at that."""
    assert process.stdout is not None
    lines: list[str] = []
    with ended(process):
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == "waits":
                (place.tasks / f"task-{len(lines)}.md").write_text("Do it")
    return lines


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Kill a process in the end, as nothing can prepare it for."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_without_watchdog_the_folder_is_looked_at_each_second(place: Place) -> None:
    lines = polled(place, alone(place, 'sys.modules["watchdog"] = None', HINTED))
    notice = f"{place.tasks} cannot be watched (watchdog is not installed (pip install 'claudetm[monitor]'))"
    assert lines == [
        f"notice {notice}: it is looked at each second.",
        "waits",
        "hint ['task-2']",
        "waits",
        "hint ['task-2', 'task-4']",
    ]


def test_where_the_kernel_watches_no_more_the_folder_is_looked_at_each_second(place: Place) -> None:
    limit = "Path('/proc/sys/user/max_inotify_instances').write_text('0')"
    unshare = ("unshare", "--user", "--map-root-user")
    if subprocess.run([*unshare, sys.executable, "-c", f"from pathlib import Path; {limit}"], check=False).returncode:
        pytest.skip("no user namespace can be made here")
    lines = polled(place, alone(place, limit, HINTED, *unshare))
    assert lines[0] == (
        f"notice {place.tasks} cannot be watched (inotify instance limit reached): it is looked at each second."
    )
    assert [line for line in lines if line.startswith("hint")] == ["hint ['task-2']", "hint ['task-2', 'task-4']"]


def test_watching_is_tried_once_and_said_once(place: Place) -> None:
    async def limited() -> None:
        async with place.source() as source:
            await eligible(source)
            with no_more_files():
                source._watch()
            source._watch()

    run(limited())
    assert len(place.notices) == 1
    assert "it is looked at each second" in place.notices[0]


# --- processes that die ------------------------------------------------------------------------------------------

HOLD = 'print(type(await source.claim("task-a")).__name__, flush=True)\n    time.sleep(600)'


def test_a_claim_ends_with_its_process_and_not_before(place: Place) -> None:
    (place.tasks / "task-a.md").write_text("Do it")

    async def claimed() -> object:
        async with place.source("another") as source:
            await until(source, bool)
            return await source.claim("task-a")

    run(claimed_once(place))
    for n in range(3):
        with ended(alone(place, "", HOLD)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "Claimed\n"
            outcome = run(claimed())
            assert isinstance(outcome, Taken)
            assert f"process {holder.pid} on " in outcome.by
        record = json.loads((place.tasks / ".claims" / "task-a.lock").read_text())
        assert (record["pid"], sum(record["deaths"].values())) == (holder.pid, n)
    outcome = run(claimed())
    assert isinstance(outcome, Claimed)
    assert outcome.deaths == 3


async def claimed_once(place: Place) -> None:
    """Wait until the file is old enough to be claimed, then leave it as it was."""
    async with place.source() as source:
        await until(source, bool)


def test_a_writer_that_never_rests_neither_stops_the_monitor_nor_is_read_by_halves(place: Place) -> None:
    path = place.tasks / "task-a.md"
    path.write_text("Do it")
    looks = f"""
for _ in range(20000):
    found = task_file.find(Path({str(place.tasks)!r}), "task-a.md")
    outcomes.add(type(task_file.read(found)).__name__)
print(*sorted(outcomes))
"""
    head = "from pathlib import Path\nfrom claudetm.adapters.sources import task_file\noutcomes = set()"
    writer = subprocess.Popen(
        [sys.executable, "-c", f"import os\nwhile True: os.close(os.open({str(path)!r}, os.O_WRONLY))"]
    )
    try:
        looked = subprocess.run([sys.executable, "-c", head + looks], capture_output=True, text=True, check=False)
    finally:
        writer.kill()
        writer.wait()
    assert (looked.returncode, looked.stderr) == (0, "")  # a lease that is broken would kill it: SIGIO
    assert looked.stdout == "Content Unsettled\n"


def test_a_file_that_is_mapped_for_writing_is_still_written(place: Place) -> None:
    path = place.tasks / "task-a.md"
    path.write_text("Do it")
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    found = task_file.find(place.tasks, "task-a.md")
    assert isinstance(found, Found)
    assert isinstance(task_file.read(found), Unsettled)
    mapped.close()
    assert task_file.read(found) == Content(b"Do it", certain=True)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="takes two users")
def test_a_file_of_another_user_is_awaited_by_time_alone() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        for path in (place.root, place.tasks, place.results):
            path.chmod(0o777)
        (place.tasks / "task-a.md").write_text("Do it")
        began = time.monotonic()
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        with ended(alone(place, "", 'await source.hint()\n    print("hint", flush=True)', *nobody)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "hint\n"
        assert time.monotonic() - began >= 2.0
