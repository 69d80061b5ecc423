"""Workers as processes: begun once, found again, stopped, killed, and what each way to end comes to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import fake_worker
from claudetm.adapters.dispatch.handover import Begun, Handover, Notes, Order
from claudetm.adapters.dispatch.place import below, state_of
from claudetm.adapters.dispatch.processes import ProcessDispatch
from claudetm.adapters.dispatch.verdict import standing
from claudetm.adapters.store.lock import acquire, holder, identity
from claudetm.ports.dispatch import AwaitsPerson, Died, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Job, Note

JOB = Job("a", "directory", "Do it.")


class Place:
    """A repository, and what its workers play."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "init", "-q", folder], check=True)
        self.handover = Handover(state_of(folder, JOB.id))

    def dispatch(self, worker: str = fake_worker.__file__, grace: float = 30.0) -> ProcessDispatch:
        return ProcessDispatch(
            below(self.folder), os.environ, command=(sys.executable, worker), look=0.02, grace=grace
        )

    def play(self, *plays: str) -> None:
        self.handover.state.create()
        (self.handover.state.root / "plays").write_text(" ".join(plays))

    def begun(self) -> int:
        path = self.handover.state.root / "begun"
        return len(path.read_text().split()) if path.exists() else 0

    def work(self, *plays: str, job: Job = JOB) -> WorkOutcome:
        if plays:
            self.play(*plays)
        return asyncio.run(self.dispatch().work(job, lambda _note: None, asyncio.Event()))

    def by_hand(self, move: str) -> None:
        """Drive the run as a person does, beside the monitor."""
        fake_worker.play(move, self.handover, Notes(self.handover.progress))

    def hanging(self) -> int:
        until = time.monotonic() + 30
        path = self.handover.state.root / "hangs"
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < until
            time.sleep(0.02)
        return int(path.read_text())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path.resolve())


def test_each_way_to_end_comes_to_its_outcome(place: Place) -> None:
    limit = place.work("limit")
    assert isinstance(limit, Failed)
    assert limit.next == "claudetm monitor retry a --set limits.cost_usd=AMOUNT"


def test_a_cancelled_job_is_begun_anew_by_a_retry(place: Place) -> None:
    cancelled = place.work("cancelled", "done")
    assert isinstance(cancelled, Failed)
    assert cancelled.error == "cancelled: not wanted any more"
    asyncio.run(place.dispatch().retry(JOB))
    done = place.work()
    assert isinstance(done, Done)
    assert done.output.run != cancelled.output.run


def test_what_turned_a_run_away_is_lifted_for_the_next_worker_also_when_no_monitor_saw_it(place: Place) -> None:
    first = place.work("no_login", "no_login", "done")
    assert isinstance(first, TryAgain)
    order = place.handover.order()
    assert order is not None
    place.handover.give(replace(order, lifted=0, looks=False))  # as after a kill before its end was seen
    assert place.work() == first
    assert place.begun() == 1
    assert place.work() == first
    assert place.begun() == 2
    assert isinstance(place.work(), Done)


def test_a_refusal_at_the_start_stands_until_it_is_retried(place: Place) -> None:
    refused = place.work("refused", "done")
    assert refused == Failed("No checks were found; `claudetm monitor retry a` helps")
    assert place.work() == refused
    assert place.begun() == 1
    asyncio.run(place.dispatch().retry(JOB))
    assert isinstance(place.work(), Done)


def test_a_bug_is_a_death_with_its_words(place: Place) -> None:
    died = place.work("bug", "done")
    assert isinstance(died, Died)
    assert "ValueError: 3" in died.evidence


def test_a_worker_that_cannot_write_its_last_words_is_tried_again(place: Place) -> None:
    outcome = place.work("mute", "done")
    assert isinstance(outcome, TryAgain)
    assert "the disk is full" in outcome.why
    assert isinstance(place.work(), Done)


def test_a_death_shows_its_signal_and_its_last_lines(place: Place) -> None:
    died = place.work("dies")
    assert isinstance(died, Died)
    assert died.evidence == "killed by signal 9 (SIGKILL); last in worker.txt: about to die"
    assert not died.progressed


def test_a_death_after_something_was_done_is_told_to_have_come_further(place: Place) -> None:
    further, stuck = place.work("further", "dies"), place.work()
    assert isinstance(further, Died)
    assert isinstance(stuck, Died)
    assert (further.progressed, stuck.progressed) == (True, False)


def test_a_death_that_no_monitor_saw_is_told_so(place: Place) -> None:
    place.play("done")
    place.handover.give(Order(JOB, begun=Begun(0, identity(os.getpid())[0])))
    died = place.work()
    assert isinstance(died, Died)
    assert (died.progressed, died.seen) == (False, False)
    assert isinstance(place.work(), Done)


def test_a_death_that_the_machine_died_with_is_no_fault_of_the_job(place: Place) -> None:
    place.play("done")
    place.handover.give(Order(JOB, begun=Begun(0, "another boot")))
    died = place.work()
    assert isinstance(died, Died)
    assert died.progressed
    assert isinstance(place.work(), Done)


def test_a_job_that_is_asked_for_anew_with_other_words_begins_anew(place: Place) -> None:
    first = place.work("failed", "done")
    assert isinstance(first, Failed)
    asyncio.run(place.dispatch().forget(JOB))
    done = place.work(job=replace(JOB, text="Do something else."))
    assert isinstance(done, Done)
    assert done.output.run != first.output.run


def test_a_job_that_was_given_back_half_done_and_has_other_words_by_then_begins_anew(place: Place) -> None:
    place.play("hangs", "done")
    assert asyncio.run(stopped(place, place.dispatch(), found_again=False)) == Stopped()
    before = standing(place.handover).run
    done = place.work(job=replace(JOB, text="Do something else."))
    assert isinstance(done, Done)
    assert before is not None
    assert done.output.run != before.id


def test_a_job_that_failed_and_is_asked_for_anew_in_the_same_words_is_carried_on(place: Place) -> None:
    first = place.work("failed", "done")
    assert isinstance(first, Failed)
    asyncio.run(place.dispatch().forget(JOB))
    done = place.work()
    assert isinstance(done, Done)
    assert done.output.run == first.output.run


def test_a_failed_job_that_a_person_brought_to_its_end_is_told_so_by_a_retry_and_then_begins_anew(
    place: Place,
) -> None:
    first = place.work("failed", "done")
    assert isinstance(first, Failed)
    asyncio.run(place.dispatch().forget(JOB))
    place.by_hand("done")
    asyncio.run(place.dispatch().retry(JOB))
    done = place.work()
    assert isinstance(done, Done)
    assert (done.output.run, place.begun()) == (first.output.run, 1)
    asyncio.run(place.dispatch().forget(JOB))
    asyncio.run(place.dispatch().retry(JOB))
    anew = place.work("done")
    assert isinstance(anew, Done)
    assert anew.output.run != first.output.run


def test_two_monitors_at_once_begin_one_worker(place: Place) -> None:
    place.play("hangs")
    script = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from claudetm.adapters.dispatch.place import below\n"
        "from claudetm.adapters.dispatch.processes import ProcessDispatch\n"
        "from claudetm.ports.source import Job\n"
        "made = ProcessDispatch(below(Path(sys.argv[1])), os.environ, command=sys.argv[2:], look=0.02)\n"
        "print(asyncio.run(made.work(Job('a', 'directory', 'Do it.'), lambda note: None, asyncio.Event())))\n"
    )
    command = [sys.executable, "-c", script, str(place.folder), sys.executable, fake_worker.__file__]
    monitors = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    place.hanging()
    time.sleep(1)
    (place.handover.state.root / "go").touch()
    said = [monitor.communicate(timeout=60)[0] for monitor in monitors]
    assert all(text.startswith("Done(") for text in said), said
    assert place.begun() == 1


def test_a_worker_outlives_a_monitor_that_is_killed(place: Place) -> None:
    place.play("hangs")
    script = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from claudetm.adapters.dispatch.place import below\n"
        "from claudetm.adapters.dispatch.processes import ProcessDispatch\n"
        "from claudetm.ports.source import Job\n"
        "made = ProcessDispatch(below(Path(sys.argv[1])), os.environ, command=sys.argv[2:], look=0.02)\n"
        "asyncio.run(made.work(Job('a', 'directory', 'Do it.'), lambda note: None, asyncio.Event()))\n"
    )
    monitor = subprocess.Popen([sys.executable, "-c", script, place.folder, sys.executable, fake_worker.__file__])
    worker = place.hanging()
    monitor.kill()
    monitor.wait()
    assert psutil.pid_exists(worker)
    notes: list[Note] = []

    async def found_again() -> WorkOutcome:
        at_work = asyncio.ensure_future(place.dispatch().work(JOB, notes.append, asyncio.Event()))
        await asyncio.sleep(0.3)
        (place.handover.state.root / "go").touch()
        return await at_work

    assert isinstance(asyncio.run(found_again()), Done)
    assert [note.text for note in notes] == ["it is at work"]
    assert place.begun() == 1


async def stopped(place: Place, dispatch: ProcessDispatch, *, found_again: bool) -> WorkOutcome:
    stop = asyncio.Event()
    at_work = asyncio.ensure_future(dispatch.work(JOB, lambda _note: None, stop))
    await asyncio.to_thread(place.hanging)
    if found_again:
        at_work.cancel()
        await asyncio.gather(at_work, return_exceptions=True)
        at_work = asyncio.ensure_future(place.dispatch().work(JOB, lambda _note: None, stop))
        await asyncio.sleep(0.2)
    stop.set()
    return await at_work


@pytest.mark.parametrize("found_again", [False, True])
def test_a_stop_reaches_a_worker_whoever_has_begun_it(place: Place, found_again: bool) -> None:
    place.play("hangs", "done")
    assert asyncio.run(stopped(place, place.dispatch(), found_again=found_again)) == Stopped()
    assert holder(place.handover.lock) is None
    assert isinstance(place.work(), Done)


def test_a_worker_that_does_not_hear_is_killed_after_its_grace(place: Place, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf.py"
    deaf.write_text(
        "import pathlib, signal, sys, time, os\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1], 'hangs').write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    place.play()
    dispatch = place.dispatch(str(deaf), grace=0.1)
    began = time.monotonic()
    assert asyncio.run(stopped(place, dispatch, found_again=False)) == Stopped()
    assert time.monotonic() - began < 20


def test_a_signal_from_elsewhere_is_a_stop_that_the_next_worker_carries_on(place: Place) -> None:
    place.play("hangs", "done")

    async def ended() -> WorkOutcome:
        at_work = asyncio.ensure_future(place.dispatch().work(JOB, lambda _note: None, asyncio.Event()))
        os.kill(await asyncio.to_thread(place.hanging), signal.SIGTERM)
        return await at_work

    assert asyncio.run(ended()) == Stopped()
    assert isinstance(place.work(), Done)


def test_while_a_person_drives_the_run_it_is_that_person_who_is_waited_for(place: Place) -> None:
    assert isinstance(place.work("awaits"), AwaitsPerson)
    with acquire(place.handover.state.lock, "r1"):
        awaited = asyncio.run(place.dispatch().awaits(JOB))
    assert awaited is not None
    assert awaited.why.startswith(f"its run is driven by process {os.getpid()}")


def test_what_people_do_at_the_forge_is_looked_for_by_and_by(place: Place) -> None:
    now = time.time()
    dispatch = ProcessDispatch(
        below(place.folder), os.environ, command=(sys.executable, fake_worker.__file__), look=0.02, now=lambda: now
    )

    def looked() -> WorkOutcome | None:
        if (awaited := asyncio.run(dispatch.awaits(JOB))) is not None:
            return awaited
        return asyncio.run(dispatch.work(JOB, lambda _note: None, asyncio.Event()))

    waits = place.work("by_hand", "by_hand", "done")
    assert waits == AwaitsPerson("#7 is ready; merging is left to you", "merge it there")
    assert (looked(), place.begun()) == (waits, 1)
    now = time.time() + 60  # due for the pause before, and not for the next one
    assert (looked(), place.begun()) == (waits, 2)
    assert (looked(), place.begun()) == (waits, 2)
    now = time.time() + 60
    assert isinstance(looked(), Done)


def test_a_worker_s_folder_is_no_place_to_import_from(place: Place) -> None:
    """What lies in the repository is somebody else's: `claudetm.py` there must not be what runs."""
    (place.folder / "claudetm.py").write_text("raise SystemExit('a stranger runs')")
    (place.folder / "json.py").write_text("raise SystemExit('a stranger runs')")
    outcome = asyncio.run(
        ProcessDispatch(below(place.folder), hidden(), look=0.02).work(JOB, lambda _n: None, asyncio.Event())
    )
    assert isinstance(outcome, Failed)  # the repository has no commits
    assert "no commits yet" in outcome.error
    assert "stranger" not in place.handover.log.read_text()


def test_a_token_crosses_over_in_a_pipe_and_stands_in_no_environment(place: Place, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, json\n"
        "from claudetm.credentials import credential, withdraw\n"
        f"environment = open('/proc/self/environ').read()\n"
        "withdraw()\n"
        "names = ('GH_TOKEN', 'SEGO_API_KEY', 'CLAUDETM_PASSWORD')\n"
        f"open({str(seen)!r}, 'w').write(json.dumps([environment, *map(credential, names)]))\n"
    )
    script = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from claudetm.credentials import withdraw\n"
        "withdraw()\n"
        "from claudetm.adapters.dispatch.place import below\n"
        "from claudetm.adapters.dispatch.processes import ProcessDispatch\n"
        "from claudetm.ports.source import Job\n"
        "made = ProcessDispatch(below(Path(sys.argv[1])), os.environ, command=sys.argv[2:], look=0.02)\n"
        "asyncio.run(made.work(Job('a', 'directory', 'Do it.'), lambda note: None, asyncio.Event()))\n"
    )
    keys = {"GH_TOKEN": "gh-canary", "SEGO_API_KEY": "sego-canary", "CLAUDETM_PASSWORD": "pass-canary"}
    monitor = tmp_path / "monitor.py"
    monitor.write_text(script)
    subprocess.run(
        [sys.executable, monitor, place.folder, sys.executable, worker], env={**os.environ, **keys}, check=True
    )
    environment, token, sego, password = json.loads(seen.read_text())
    assert "canary" not in environment
    assert (token, sego, password) == ("gh-canary", "", "")


def hidden() -> Mapping[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
