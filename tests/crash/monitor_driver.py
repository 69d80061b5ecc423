"""A real monitor over a real directory, whose workers are tiny processes. Started as a program by the tests.

The queue's journal, its lock, the results and the source are those that ship; a worker holds a flock, writes `start`
and `end` into `worked.log`, and outlives the monitor.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from claudetm.adapters.sources.directory import DirectorySource
from claudetm.adapters.sources.task_folder import DirectorySettings
from claudetm.adapters.store.compaction import compact
from claudetm.adapters.store.directory import FileInbox, FileViews
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from claudetm.adapters.store.results import FileResults
from claudetm.bootstrap.clock import SystemClock
from claudetm.intake.monitor import Monitor, MonitorPorts
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.queue import survivors
from claudetm.ports.dispatch import AwaitsPerson, Died, Done, Stopped, WorkOutcome
from claudetm.ports.source import Job, Note, Output

COMPACT_OVER = 50_000  # bytes: so that the journal is compacted again and again

WORKER = """
printf 'start %s\\n' "$1" >> worked.log
if [ -e "die/$1" ]; then rm "die/$1"; printf 'die %s\\n' "$1" >> worked.log; kill -9 $$; fi
printf 'end %s\\n' "$1" >> worked.log
: > "workers/$1.done"
"""


class TinyWorkers:
    """Implements ports/dispatch.Dispatch: a shell a job, whose lock is inherited and whose outcome is a file."""

    def __init__(self, root: Path) -> None:
        self._root = root
        (root / "workers").mkdir(exist_ok=True)

    async def work(self, job: Job, told: Callable[[Note], None], stop: asyncio.Event) -> WorkOutcome:
        told(Note("working", "It works."))
        done, lock = (self._root / "workers" / f"{job.id}.{end}" for end in ("done", "lock"))
        while not (descriptor := _locked(lock)):  # noqa: ASYNC110 - a lock of another process
            await asyncio.sleep(0.002)
        try:
            if done.exists():
                return Done(Output("It is done."))
            if stop.is_set():
                return Stopped()
            worker = await asyncio.create_subprocess_exec(
                "sh", "-c", WORKER, "worker", job.id, cwd=self._root, pass_fds=(descriptor,), start_new_session=True
            )
        finally:
            os.close(descriptor)
        code = await worker.wait()
        return Done(Output("It is done.")) if done.exists() else Died(f"It ended with {code}.")

    async def kept(self, _job: Job) -> None:
        return None

    async def awaits(self, job: Job) -> AwaitsPerson | None:
        raise AssertionError(f"{job.id} waits for nobody")

    async def retry(self, job: Job) -> None:
        (self._root / "workers" / f"{job.id}.done").unlink(missing_ok=True)

    async def forget(self, job: Job) -> None:
        (self._root / "workers" / f"{job.id}.lock").unlink(missing_ok=True)


def _locked(path: Path) -> int:
    """Return the descriptor of a lock that is ours now, or 0."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return 0
    return descriptor


async def main(root: Path, poll: float, name: str = "") -> int:
    """Run a monitor; several at one folder have names."""
    state = root / f"state{name}"
    for folder in (state, root / "results"):
        folder.mkdir(exist_ok=True)
    with acquire(state / "lock", "monitor") as lock:
        compact(state / "queue.jsonl", lock, survivors, COMPACT_OVER)
        clock = SystemClock()
        settings = DirectorySettings(root / "tasks", root / "results", root, owner=f"crash-test{name}")
        ports = MonitorPorts(
            (DirectorySource(settings, clock),),
            TinyWorkers(root),
            FileJournal(state / "queue.jsonl", lock),
            FileResults(root / "results"),
            FileInbox(state / "inbox"),
            FileViews(state),
            clock,
        )
        policy = MonitorPolicy(poll=poll, retry_first=0.2, keep=poll)
        monitor = Monitor(ports, policy, lambda sentence: print(sentence, flush=True))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, monitor.stop)
        return (await monitor.run()).code


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:])))
