"""A directory of tasks: what is offered and why not the rest, who has a claim, and what a look costs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from claudetm.adapters.sources.directory import DirectorySource
from claudetm.adapters.sources.task_claims import Claims, Held
from claudetm.adapters.sources.task_document import Document, Flaw, parse
from claudetm.adapters.sources.task_file import LARGEST, Absent, Found, Unsettled, find, read
from claudetm.adapters.sources.task_folder import QUIET_SECONDS, DirectorySettings, TaskFolder
from claudetm.errors import ConfigError
from claudetm.ports.source import (
    Claimed,
    Gone,
    Job,
    Mode,
    Note,
    Offer,
    Output,
    Result,
    SourceBusy,
    SourceRefused,
    Status,
    Taken,
)
from claudetm.testing.memory import FakeClock

EXAMPLES = Path(__file__).parents[2] / "examples" / "tasks"


class Place:
    """A working directory with `tasks/` and `results/`, and a clock that stands a minute after now."""

    def __init__(self, root: Path) -> None:
        self.root, self.tasks, self.results = root, root / "tasks", root / "results"
        self.tasks.mkdir()
        self.results.mkdir()
        self.clock = FakeClock(time.time() + 60)
        self.notices: list[str] = []

    @property
    def settings(self) -> DirectorySettings:
        return DirectorySettings(self.tasks, self.results, self.root)

    def source(self, owner: str = "one") -> DirectorySource:
        return DirectorySource(replace(self.settings, owner=owner), self.clock, self.notices.append)

    def folder(self) -> TaskFolder:
        return TaskFolder(self.settings, self.clock.now)

    def put(self, name: str, text: str | bytes = "Do it", age: float = 0.0) -> Path:
        path = self.tasks / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.utime(path, (self.clock.now() - age - 60, self.clock.now() - age - 60))
        return path

    def end(self, job: str) -> None:
        (self.results / f"{job}.json").write_text("{}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def listed(source: DirectorySource) -> Sequence[Offer]:
    return asyncio.run(source.list())


def why(source: DirectorySource) -> dict[str, str]:
    return {o.id: o.why_not for o in listed(source)}


def claim(source: DirectorySource, job: str) -> Job:
    outcome = asyncio.run(source.claim(job))
    assert isinstance(outcome, Claimed), outcome
    return outcome.job


# --- what is offered -------------------------------------------------------------------------------------------


def test_only_files_of_the_pattern_right_in_the_folder_are_tasks(place: Place) -> None:
    for name in (
        "task-a.md",
        "notes.md",
        "task-b.txt",
        ".task-c.md.swp",
        "task-a.md~",
        "#task-a.md#",
        ".#task-a.md",
        "4913",
        ".goutputstream-X1",
        "task-a.md.part",
    ):
        place.put(name)
    (place.tasks / "later").mkdir()
    (place.tasks / "later" / "task-d.md").write_text("Do it")
    assert [o.id for o in listed(place.source())] == ["task-a"]


def test_what_is_new_goes_by_its_time_then_by_its_name(place: Place) -> None:
    place.put("task-z.md", age=5)
    place.put("task-b.md", age=3)
    place.put("task-a.md", age=3)
    source = place.source()
    assert [o.id for o in listed(source)] == ["task-z", "task-a", "task-b"]
    place.put("task-old.md", age=9000)  # moved into place with an old time: it came last all the same
    assert [o.id for o in listed(source)] == ["task-z", "task-a", "task-b", "task-old"]


def test_what_a_listing_missed_among_what_came_with_it_keeps_its_place(place: Place) -> None:
    """A listing that goes on while files come may find a later one only; what is old when it comes is new."""
    folder = place.folder()
    place.put("task-later.md")
    folder.look()
    place.put("task-moved-here.md", age=10)
    place.put("task-missed.md", age=1)
    place.clock.time += 1
    assert [w.id for w in folder.look()] == ["task-missed", "task-later", "task-moved-here"]


def test_a_task_that_is_edited_keeps_its_place(place: Place) -> None:
    place.put("task-a.md", age=5)
    place.put("task-b.md", age=3)
    source = place.source()
    first = listed(source)
    place.put("task-a.md", "---\ntitle: New\n---\nDo something else")
    place.clock.time += 1
    again = listed(source)
    assert [o.id for o in again] == ["task-a", "task-b"]
    assert (again[0].title, again[0].created) == ("New", first[0].created)


def test_a_task_that_is_away_while_it_is_saved_keeps_its_place(place: Place) -> None:
    path = place.put("task-a.md", age=5)
    place.put("task-b.md", age=3)
    source = place.source()
    first = listed(source)
    path.rename(place.tasks / "task-a.md~")
    away = listed(source)
    assert [(o.id, o.why_not) for o in away] == [("task-a", "task-a.md: it is still being written"), ("task-b", "")]
    place.put("task-a.md", "Do it better")
    place.clock.time += 0.4
    again = listed(source)
    assert [(o.id, o.created, o.why_not) for o in again] == [(o.id, o.created, "") for o in first]
    path.unlink()
    listed(source)
    place.clock.time += 0.5
    assert [o.id for o in listed(source)] == ["task-b"]


def test_a_save_under_way_is_awaited_by_a_claim(place: Place) -> None:
    path = place.put("task-a.md")
    source = place.source()
    listed(source)
    saved = place.tasks / "task-a.md~"
    path.rename(saved)

    async def claimed() -> object:
        claim = asyncio.ensure_future(source.claim("task-a"))
        await asyncio.sleep(0)
        saved.rename(path)
        return await claim

    assert isinstance(asyncio.run(claimed()), Claimed)


def test_what_has_a_result_is_no_longer_offered_until_that_is_removed(place: Place) -> None:
    place.put("task-a.md")
    place.end("task-a")
    source = place.source()
    assert listed(source) == []
    assert asyncio.run(source.claim("task-a")) == Gone(f"{place.results}/task-a.json is there already")
    (place.results / "task-a.json").unlink()
    assert [o.id for o in listed(source)] == ["task-a"]


def test_results_that_are_gone_as_a_whole_let_no_task_run_again_until_somebody_says_so(place: Place) -> None:
    """A disk that is not there, or a slip of the hand, would cost every finished task once more."""
    place.put("task-a.md")
    place.put("task-b.md")
    place.end("task-a")
    source = place.source()
    assert [o.id for o in listed(source)] == ["task-b"]
    away = place.results.rename(place.root / "away")
    for ask in (source.list, lambda: source.claim("task-a"), lambda: source.claim("task-b")):
        with pytest.raises(SourceBusy, match="which tasks have ended cannot be told"):
            asyncio.run(ask())
    away.rename(place.results)
    assert [o.id for o in listed(source)] == ["task-b"]
    shutil.rmtree(place.results)
    place.results.mkdir()
    assert sorted(o.id for o in listed(source)) == ["task-a", "task-b"]


def test_a_mistake_is_listed_with_its_line_and_the_task_is_taken_once_that_is_mended(place: Place) -> None:
    place.put("task-a.md", "---\nmode: goal\nbugdet: 5\n---\nDo it")
    source = place.source()
    assert why(source) == {"task-a": "task-a.md:3: there is no key `bugdet`; did you mean `budget`?"}
    outcome = asyncio.run(source.claim("task-a"))
    assert outcome == Gone("it has to be mended: task-a.md:3: there is no key `bugdet`; did you mean `budget`?")
    assert list((place.tasks / ".claims").iterdir()) == []
    place.put("task-a.md", "---\nmode: goal\nbudget: 5\n---\nDo it")
    place.clock.time += 1
    assert why(source) == {"task-a": ""}
    assert claim(source, "task-a").settings == {"limits.cost_usd": 5.0}


def test_a_monitor_says_once_what_is_wrong_and_again_when_that_changes(place: Place) -> None:
    path = place.put("task-a.md", "---\nbugdet: 5\n---\nDo it")
    place.put("task-c.md", "---\nrepository: other\n---\nDo it")
    place.put("task-d.md")
    source = place.source()

    async def hinted() -> None:
        for text in ("---\nbudget: none\n---\nDo it", "Do it"):
            await source.hint()  # as task-d can be taken
            await source.hint()
            path.write_text(text)
            place.clock.time += 1
        await source.hint()
        await source.close()

    asyncio.run(hinted())
    assert place.notices == [
        "task-a.md:2: there is no key `bugdet`; did you mean `budget`?; it is taken once that is mended.",
        f"task-c.md:2: the repository {place.root}/other is no folder; it is taken once that is mended.",
        "task-a.md:2: `budget` must be an amount in US dollars above 0, not 'none'; it is taken once that is mended.",
    ]


def test_the_text_is_read_at_the_claim(place: Place) -> None:
    place.put("task-a.md", "Do this")
    source = place.source()
    listed(source)
    place.put("task-a.md", "Do that, rather")
    place.clock.time += 60
    assert claim(source, "task-a").text == "Do that, rather"


def test_what_a_task_does_not_say_is_the_monitors(place: Place) -> None:
    place.put("task-a.md")
    source = DirectorySource(replace(place.settings, mode=Mode.SESSION), place.clock)
    assert claim(source, "task-a").mode is Mode.SESSION


def test_a_repository_lies_where_the_monitor_runs_and_has_to_be_there(place: Place) -> None:
    place.put("task-a.md", "---\nrepository: other\n---\nDo it")
    source = place.source()
    flaw = f"task-a.md:2: the repository {place.root}/other is no folder"
    assert why(source) == {"task-a": flaw}
    assert asyncio.run(source.claim("task-a")) == Gone(f"it has to be mended: {flaw}")
    (place.root / "other").mkdir()
    assert why(source) == {"task-a": ""}
    assert claim(source, "task-a").repository == str(place.root / "other")


@pytest.mark.parametrize("name", ["session.md", "goal.md"])
def test_the_examples_are_tasks(name: str) -> None:
    document = parse((EXAMPLES / f"task-{name}").read_bytes())
    assert isinstance(document, Document)
    assert str(document.mode) == name.removesuffix(".md")


@pytest.mark.parametrize("pattern", ["task-*", "*.*", "a/task-*.md", "task.[mM][dD]", ".md"])
def test_a_pattern_must_give_each_file_a_name_of_its_own(place: Place, pattern: str) -> None:
    with pytest.raises(ConfigError, match="cannot say which files are tasks"):
        replace(place.settings, pattern=pattern)


def test_another_pattern_names_other_files(place: Place) -> None:
    place.put("todo-a.txt")
    place.put("task-a.md")
    place.put("todo-b.txt~")
    source = DirectorySource(replace(place.settings, pattern="*.txt"), place.clock)
    assert [o.id for o in listed(source)] == ["todo-a"]


# --- what is refused -------------------------------------------------------------------------------------------


def test_hostile_files_are_refused_and_the_others_go_on(place: Place) -> None:
    secret = place.root / "secret.md"
    secret.write_text("Not in the folder")
    (place.tasks / "task-folder.md").mkdir()
    os.mkfifo(place.tasks / "task-pipe.md")
    (place.tasks / "task-out.md").symlink_to(secret)
    (place.tasks / "task-up.md").symlink_to("../secret.md")
    (place.tasks / "task-circle.md").symlink_to("task-circle.md")
    (place.tasks / "task-nowhere.md").symlink_to("nothing.md")
    (place.tasks / "task-null.md").symlink_to("/dev/null")
    place.put("task-nul.md", "a\nb\0")
    place.put("task-latin.md", "f\xfcr".encode("latin-1"))
    place.put("task-large.md", b"")
    with (place.tasks / "task-large.md").open("ab") as file:
        file.truncate(1 << 30)  # a gigabyte that takes no place
    bound = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(place.tasks)  # the path of a socket is short
    bound.bind("task-socket.md")
    os.chdir(here)
    place.put("task-good.md")
    found = why(place.source())
    bound.close()
    assert found == {
        "task-folder": "task-folder.md: it is a folder, not a file",
        "task-pipe": "task-pipe.md: it is a pipe, not a file",
        "task-socket": "task-socket.md: it is a socket, not a file",
        "task-out": "task-out.md: it is a link that leads out of the folder: put the file itself there",
        "task-up": "task-up.md: it is a link that leads out of the folder: put the file itself there",
        "task-null": "task-null.md: it is a link that leads out of the folder: put the file itself there",
        "task-circle": "task-circle.md: it cannot be looked at: its links lead in a circle",
        "task-nowhere": "task-nowhere.md: it is a link that leads nowhere",
        "task-nul": "task-nul.md:2: it holds a NUL character, so it is no text",
        "task-latin": "task-latin.md:1: it is no UTF-8 text (byte 0xfc at offset 1)",
        "task-large": f"task-large.md: it has {1 << 30} bytes; {LARGEST} is the most, and it was not read",
        "task-good": "",
    }


def test_hostile_names_are_refused_and_the_others_go_on(place: Place) -> None:
    for name in (
        b"task-a\nb.md",
        b"task-\xff.md",
        b"task-" + b"x" * 200 + b".md",
        b"task-\x1b[31m.md",
        b"task-c .md",
    ):
        Path(os.fsdecode(os.fsencode(place.tasks) + b"/" + name)).write_text("Do it")
    place.put("task-good.md")
    source = place.source()
    offers = listed(source)
    assert len({o.id for o in offers}) == 6
    assert [o.id for o in offers if not o.why_not] == ["task-good"]
    assert all(o.id.isprintable() and o.why_not.isprintable() and len(o.id) < 80 for o in offers)
    for offer in offers:
        if offer.why_not:
            assert isinstance(asyncio.run(source.claim(offer.id)), Gone)


@pytest.mark.parametrize("job", ["../secret", "/etc/passwd", "", "task-a\0", ".claims", "task-*", "notes"])
def test_a_name_that_is_no_tasks_is_gone(place: Place, job: str) -> None:
    (place.root / "secret.md").write_text("Do it")
    place.put("notes.md")
    assert isinstance(asyncio.run(place.source().claim(job)), Gone)


def test_a_link_to_a_file_inside_is_followed(place: Place) -> None:
    place.put("draft.md", "Do it")
    (place.tasks / "task-a.md").symlink_to("draft.md")
    source = place.source()
    assert why(source) == {"task-a": ""}
    assert claim(source, "task-a").text == "Do it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_refused_and_taken_once_it_may(place: Place) -> None:
    path = place.put("task-a.md")
    path.chmod(0)
    source = place.source()
    assert why(source) == {"task-a": "task-a.md: it cannot be read: Permission denied"}
    path.chmod(0o600)
    place.clock.time += 1
    assert why(source) == {"task-a": ""}


def test_what_changed_between_the_look_and_the_reading_is_not_read(place: Place) -> None:
    path = place.put("task-a.md")
    found = find(place.tasks, "task-a.md")
    assert isinstance(found, Found)
    path.unlink()
    assert isinstance(read(found), Absent)
    path.symlink_to(place.put("other.md"))
    assert read(found) == Flaw("it cannot be read: Too many levels of symbolic links")
    path.unlink()
    os.mkfifo(path)
    assert isinstance(read(found), Unsettled)
    path.unlink()
    place.put("task-a.md", "Do more")
    assert isinstance(read(found), Unsettled)


# --- what is still written -------------------------------------------------------------------------------------


def test_a_file_is_awaited_while_anybody_has_it_open_for_writing(place: Place) -> None:
    path = place.put("task-a.md")
    source = place.source()
    with path.open("a"):
        assert why(source) == {"task-a": "task-a.md: it is still being written"}
        place.clock.time += 3600
        assert why(source) == {"task-a": "task-a.md: it is still being written"}
        assert asyncio.run(source.claim("task-a")) == Taken("somebody who is writing it")
    assert why(source) == {"task-a": ""}


def test_a_file_is_awaited_until_it_has_been_quiet(place: Place) -> None:
    place.clock.time = 1_000_000.0  # before the file's own time, as where clocks differ
    path = place.put("task-a.md", "Do")
    source = place.source()
    assert why(source) == {"task-a": "task-a.md: it is still being written"}
    place.clock.time += 0.29
    path.write_text("Do it")
    assert why(source) == {"task-a": "task-a.md: it is still being written"}
    place.clock.time += 0.29
    assert why(source) == {"task-a": "task-a.md: it is still being written"}
    place.clock.time += 0.02
    assert why(source) == {"task-a": ""}


def test_an_empty_file_is_awaited_for_a_minute_then_refused_and_never_lost(place: Place) -> None:
    place.clock.time = time.time()
    path = place.put("task-a.md", "")
    source = place.source()
    assert why(source) == {"task-a": "task-a.md: it is still being written"}
    place.clock.time += 61
    assert why(source) == {"task-a": "task-a.md: it is empty: write what to do"}
    path.write_text("Do it")
    place.clock.time += 1
    assert why(source) == {"task-a": ""}


# --- what a look costs -----------------------------------------------------------------------------------------


@pytest.fixture
def finished(place: Place) -> TaskFolder:
    for n in range(10_000):
        (place.tasks / f"task-{n}.md").touch()
        (place.results / f"task-{n}.json").touch()
    return place.folder()


def test_ten_thousand_finished_tasks_are_listed_once_a_minute(place: Place, finished: TaskFolder) -> None:
    for _ in range(40):
        assert finished.look() == []
        place.clock.time += 1
    assert finished.listings <= 4  # within the grain of a folder's time stamp, once more each second
    for _ in range(60):
        finished.look()
        place.clock.time += 1
    assert finished.listings <= 5
    place.put("task-new.md")
    assert [w.id for w in finished.look()] == ["task-new"]


def test_the_more_tasks_wait_the_more_seldom_each_file_is_looked_at_while_their_folder_shows_nothing_new(
    place: Place,
) -> None:
    folder = place.folder()
    for n in range(1000):
        place.put(f"task-{n}.md")
    folder.look()
    assert not folder.unchanged()  # within the grain of its stamp
    place.clock.time += 5
    assert len(folder.look()) == 1000
    assert (folder.unchanged(), folder.spared) == (True, 5)
    place.put("task-new.md")
    assert not folder.unchanged()
    place.clock.time += 5
    folder.look()
    place.end("task-1")
    assert not folder.unchanged()
    with place.put("task-2.md").open("a"):
        folder.look()
        assert folder.spared == 0  # somebody writes
    place.tasks.rename(place.root / "elsewhere")
    assert not folder.unchanged()


def test_a_file_is_found_that_left_no_trace_on_its_folders_time(place: Place) -> None:
    folder = place.folder()
    folder.look()
    before = place.tasks.stat()
    place.put("task-a.md")
    os.utime(place.tasks, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [w.id for w in folder.look()] == ["task-a"]  # within one grain of the stamp
    for _ in range(3):
        place.clock.time += 2
        folder.look()
    before = place.tasks.stat()
    place.put("task-b.md")
    os.utime(place.tasks, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [w.id for w in folder.look()] == ["task-a"]
    place.clock.time += 60
    assert [w.id for w in folder.look()] == ["task-a", "task-b"]


def test_a_clock_that_goes_back_loses_nothing(place: Place) -> None:
    folder = place.folder()
    folder.look()
    place.clock.time -= 1_000_000
    place.put("task-a.md")
    folder.look()
    place.clock.time += 1
    assert [(w.id, w.settled) for w in folder.look()] == [("task-a", True)]


@pytest.mark.parametrize("age", [-365 * 86_400.0, 60 * 365 * 86_400.0])
def test_a_file_of_another_time_waits_no_longer_and_came_no_later_than_now(place: Place, age: float) -> None:
    """As a clock that was set back, or a copy that keeps its time, leaves it."""
    place.put("task-a.md", age=age)
    source = place.source()
    listed(source)
    place.clock.time += 2 * QUIET_SECONDS
    assert [(o.id, o.why_not) for o in listed(source)] == [("task-a", "")]
    assert claim(source, "task-a").created <= place.clock.now()


# --- claims ----------------------------------------------------------------------------------------------------


def test_a_claim_names_its_holder_and_leaves_nothing(place: Place) -> None:
    place.put("task-a.md")
    one = place.source("one")
    job = claim(one, "task-a")
    outcome = asyncio.run(place.source("two").claim("task-a"))
    assert isinstance(outcome, Taken)
    assert outcome.by.startswith(f"process {os.getpid()} on {os.uname().nodename} since ")
    asyncio.run(one.give_back(job, "stop"))
    assert list((place.tasks / ".claims").iterdir()) == []


def dead(source: DirectorySource) -> None:
    for held in source._claims._held.values():
        os.close(held.descriptor)


def deaths(source: DirectorySource) -> int:
    outcome = asyncio.run(source.claim("task-a"))
    assert isinstance(outcome, Claimed)
    return outcome.deaths


@pytest.mark.parametrize("text", [None, "---\nbugdet: 1\n---\nDo it", "Do something else"])
def test_what_was_begun_is_claimed_again_as_it_was_whatever_became_of_its_file(
    place: Place, text: str | None
) -> None:
    async def main() -> None:
        place.put("task-a.md")
        before = place.source()
        first = await before.claim("task-a")
        assert isinstance(first, Claimed)
        await before.give_back(first.job, "")  # the flock is free, as after a kill
        if text is None:
            (place.tasks / "task-a.md").unlink()
        else:
            place.put("task-a.md", text)
        again = place.source()
        assert await again.reclaim(first.job) == Claimed(first.job)
        assert await again.keep(first.job)
        assert isinstance(await place.source("two").reclaim(first.job), Taken)
        (place.results / "task-a.json").write_text("{}")
        assert isinstance(await again.reclaim(first.job), Gone)

    asyncio.run(main())


def test_a_claim_that_ends_while_another_takes_it_is_no_claim_of_both(place: Place) -> None:
    """Whoever locks a file that has just been removed holds nothing: the next one would make another."""
    first, third = (Claims(place.tasks, name, place.clock.now) for name in ("first", "third"))
    first.prepare()
    assert first.take("task-a") == Held()
    ends = [first.release]

    def after_it_ended(descriptor: int, how: int) -> None:
        if ends:
            ends.pop()("task-a")
        fcntl.flock(descriptor, how)

    second = Claims(place.tasks, "second", place.clock.now, after_it_ended)
    assert second.take("task-a") == Held()
    assert isinstance(third.take("task-a"), Taken)
    second.release("task-a")


def test_what_ended_while_its_claim_was_taken_is_gone(place: Place) -> None:
    place.put("task-a.md")
    source = place.source()

    def after_it_ended(descriptor: int, how: int) -> None:
        place.end("task-a")
        fcntl.flock(descriptor, how)

    source._prepare()  # which tries the lock
    source._claims._flock = after_it_ended
    assert asyncio.run(source.claim("task-a")) == Gone(f"{place.results}/task-a.json is there already")
    assert list((place.tasks / ".claims").iterdir()) == []


def test_what_a_job_has_cost_other_monitors_is_counted(place: Place) -> None:
    place.put("task-a.md")
    one, two = place.source("one"), place.source("two")
    assert deaths(one) == 0
    dead(one)
    one = place.source("one")
    assert deaths(one) == 0  # its own it knows of
    dead(one)
    assert deaths(two) == 2
    dead(two)
    assert deaths(place.source("one")) == 1


def test_progress_forgives_the_deaths_before(place: Place) -> None:
    place.put("task-a.md")
    one, two = place.source("one"), place.source("two")
    job = claim(one, "task-a")
    asyncio.run(one.progress(job, Note("working", "begun")))
    dead(one)
    assert deaths(two) == 1
    asyncio.run(two.progress(job, Note("working", "begun again")))
    dead(two)
    three = place.source("three")
    assert deaths(three) == 2
    asyncio.run(three.progress(job, Note("reviewing", "further than ever")))
    dead(three)
    assert deaths(place.source("four")) == 1


def test_a_monitor_that_ends_in_order_is_no_death(place: Place) -> None:
    place.put("task-a.md")
    one = place.source("one")
    claim(one, "task-a")
    asyncio.run(one.close())
    dead(one)
    assert deaths(place.source("two")) == 0


def test_a_claim_whose_file_was_removed_is_taken_back(place: Place) -> None:
    place.put("task-a.md")
    one, two = place.source("one"), place.source("two")
    job = claim(one, "task-a")
    lock = place.tasks / ".claims" / "task-a.lock"
    lock.unlink()
    assert asyncio.run(one.keep(job))
    assert isinstance(asyncio.run(two.claim("task-a")), Taken)
    lock.unlink()
    lock.parent.rmdir()
    claim(two, "task-a")
    assert not asyncio.run(one.keep(job))


def test_claims_that_killed_monitors_left_of_what_is_over_are_removed(place: Place) -> None:
    place.put("task-a.md")
    place.put("task-b.md")
    one = place.source("one")
    claim(one, "task-a")
    claim(one, "task-b")
    (place.tasks / ".claims" / "task-half.lock").write_text("{")
    dead(one)
    place.end("task-a")
    asyncio.run(place.source("two").claim("task-c"))
    assert [path.name for path in (place.tasks / ".claims").iterdir()] == ["task-b.lock"]


def test_a_claim_that_another_file_system_cannot_lock_is_refused_at_once(place: Place) -> None:
    def unlockable(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, f"No locks available for {descriptor}, {operation}")

    def careless(descriptor: int, operation: int) -> None:
        assert operation == fcntl.LOCK_EX | fcntl.LOCK_NB
        assert descriptor >= 0

    for flock in (unlockable, careless):
        with pytest.raises(SourceRefused, match="where flock does not work"):
            Claims(place.tasks, "one", place.clock.now, flock).prepare()
    assert list((place.tasks / ".claims").iterdir()) == []


def test_a_folder_of_claims_that_leads_elsewhere_is_refused(place: Place) -> None:
    place.put("task-a.md")
    (place.tasks / ".claims").symlink_to(place.root)
    with pytest.raises(SourceRefused, match="is no folder, and claims on tasks are kept there"):
        claim(place.source(), "task-a")


# --- the folder ------------------------------------------------------------------------------------------------


def test_to_list_changes_nothing(place: Place) -> None:
    place.put("task-a.md")
    assert why(place.source()) == {"task-a": ""}
    assert [path.name for path in place.tasks.iterdir()] == ["task-a.md"]
    shutil.rmtree(place.tasks)
    assert listed(place.source()) == []
    assert not place.tasks.exists()


def test_a_folder_that_is_not_there_is_made(place: Place) -> None:
    place.tasks.rmdir()
    assert asyncio.run(place.source().claim("task-a")) == Gone(f"{place.tasks}/task-a.md is not there any more")
    assert place.tasks.is_dir()
    assert place.notices == []


def test_a_folder_that_is_removed_is_made_again_and_that_is_said(place: Place) -> None:
    place.put("task-a.md")
    source = place.source()
    job = claim(source, "task-a")
    place.tasks.rename(place.root / "old")
    assert asyncio.run(source.keep(job))
    assert place.notices == [f"{place.tasks} was removed or replaced: the folder that is there now is watched."]
    listed(source)
    place.clock.time += 1
    assert listed(source) == []
    assert isinstance(asyncio.run(place.source("two").claim("task-a")), Gone)
    place.put("task-b.md")
    assert [o.id for o in listed(source)] == ["task-b"]
    asyncio.run(source.finish(job, Result("task-a", Status.COMPLETED, 0, 0, 0, 1, Output())))


def test_a_folder_that_can_be_none_is_refused(place: Place) -> None:
    place.tasks.rmdir()
    place.tasks.write_text("")
    with pytest.raises(SourceRefused, match="cannot be used for tasks: Not a directory; mend that"):
        listed(place.source())


def test_where_no_file_can_be_opened_for_a_while_it_is_asked_again(place: Place) -> None:
    place.put("task-a.md")
    source = place.source()
    with no_more_files(), pytest.raises(SourceBusy, match="cannot be read now: Too many open files") as busy:
        listed_at_once(source)
    assert busy.value.until == place.clock.now() + 30
    assert why(source) == {"task-a": ""}


def listed_at_once(source: DirectorySource) -> None:
    with contextlib.suppress(StopIteration):
        source.list().send(None)  # an event loop would open files of its own


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
