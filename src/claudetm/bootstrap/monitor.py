"""Wiring the monitor: from its settings to sources, queue and workers, and running it until somebody stops it.

Whoever holds `monitor.lock` is the monitor of a state directory; it alone writes the queue's journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from claudetm import __version__
from claudetm.adapters.agent.access import choose
from claudetm.adapters.agent.cli import cli_on_path
from claudetm.adapters.dispatch.place import below
from claudetm.adapters.dispatch.processes import GRACE, ProcessDispatch
from claudetm.adapters.service.notify import Notifier
from claudetm.adapters.sources.task_folder import WRITTEN
from claudetm.adapters.store.compaction import compact
from claudetm.adapters.store.directory import FileInbox, FileViews, write_atomically
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import LockHeld, acquire
from claudetm.adapters.store.results import FileResults
from claudetm.bootstrap.clock import SystemClock
from claudetm.bootstrap.monitor_places import Places
from claudetm.bootstrap.monitor_settings import CLI_KEY, MonitorSettings, at_sego
from claudetm.bootstrap.signals import heeded
from claudetm.errors import ConfigError, RepositoryError, UsageError
from claudetm.intake import commands
from claudetm.intake.monitor import Ended, Monitor, MonitorPorts
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.preview import Prospect
from claudetm.intake.preview import preview as previewed
from claudetm.intake.queue import Queue, fold, survivors
from claudetm.intake.writer import QueueWriter
from claudetm.ports.clock import Clock
from claudetm.ports.dispatch import AwaitsPerson, Dispatch, WorkOutcome
from claudetm.ports.source import Job, Lane, Note, Offer, Source, SourceBusy, SourceRefused
from claudetm.ports.store import Command, Journal
from claudetm.workflow.records import Record

STOPPING: Final = GRACE + 15.0
"""Seconds that a monitor which stops waits for its workers: none shall spend while it is said to be stopped."""


class Audience(Protocol):
    """Who is told what a monitor does."""

    def notice(self, sentence: str) -> None:
        """Hear what concerns the whole monitor."""
        ...

    def event(self, record: Record) -> None:
        """Hear of a record of the queue."""
        ...

    def progress(self, job: str, text: str) -> None:
        """Hear how far a task is."""
        ...


def able(settings: MonitorSettings, rehearsal: str) -> str:
    """Return the rehearsal as workers in other folders find it. Raises ClaudetmError where no task could be worked.

    That is without a CLI, a way to the model, or such a scenario.
    """
    if settings.resolved[CLI_KEY] == "path":
        cli_on_path(os.environ.get("PATH"))
    if rehearsal:
        from claudetm.testing.scripted_model.scenario import load

        path = Path(rehearsal)
        rehearsal = str(path.resolve()) if path.suffix in {".yaml", ".yml"} else rehearsal
        load(rehearsal)
    elif choose(settings.resolved, os.environ) is None:
        raise ConfigError(
            "No Claude credentials were found: log in with `claude`, or set ANTHROPIC_API_KEY, "
            "CLAUDE_CODE_OAUTH_TOKEN or OPENROUTER_API_KEY (`claudetm demo` needs none)"
        )
    return rehearsal


def doubt(settings: MonitorSettings) -> str:
    """Return what keeps tasks here from being worked while those that name a repository can be, or "".

    Raises RepositoryError where none can name one: each would be taken, and fail.
    """
    from claudetm.adapters.git.user_repository import inspect

    try:
        inspect(settings.places.here)
    except RepositoryError as error:
        if set(settings.sources) - {"directory"}:
            raise
        return f"{error} Until then only tasks that name a `repository` can be worked."
    return ""


def sources(settings: MonitorSettings, monitor: str, clock: Clock, notice: Callable[[str], None]) -> list[Source]:
    """Return the sources that the settings name. Raises ClaudetmError for what can never be asked."""
    return [_source(name, settings, monitor, clock, notice) for name in settings.sources]


def _source(
    name: str, settings: MonitorSettings, monitor: str, clock: Clock, notice: Callable[[str], None]
) -> Source:
    mode, places = settings.mode_of(name), settings.places
    if name == "directory":
        from claudetm.adapters.sources.directory import DirectorySource
        from claudetm.adapters.sources.task_folder import DirectorySettings

        owner = f"{os.uname().nodename}:{places.state}"
        folder = DirectorySettings(places.tasks, places.results, places.here, owner=owner, mode=mode)
        return DirectorySource(folder, clock, notice)
    if name == "github":
        from claudetm.adapters.git.user_repository import inspect
        from claudetm.adapters.sources.github.settings import GithubIssuesSettings
        from claudetm.bootstrap.github_source import github_source

        said = GithubIssuesSettings(
            monitor, settings.label, mode, settings.trusted, settings.accounts, settings.skill or ""
        )
        return github_source(inspect(places.here), settings.resolved, said, clock, notice)
    from claudetm.adapters.sources.sego.source import SegoSource

    return SegoSource(at_sego(settings, monitor), clock, notice)


async def preview(settings: MonitorSettings, notice: Callable[[str], None]) -> tuple[list[Prospect], list[str]]:
    """Return what a monitor would do now, and a sentence for each source that cannot be asked.

    Nothing is claimed and nothing written. A file that was written just now is awaited, as a monitor would.
    """
    found, troubles = [], []
    for source in sources(settings, _monitor_id(settings.places, keep=False), SystemClock(), notice):
        try:
            found.append((source.name, await _listed(source)))
        except (SourceBusy, SourceRefused) as error:
            troubles.append(f"{source.name}: {error}")
        finally:
            await source.close()
    journal = settings.places.journal
    queue = fold(FileJournal(journal).read()) if journal.exists() else Queue()
    return previewed(queue, found, FileResults(settings.places.results).ended), troubles


async def _listed(source: Source) -> Sequence[Offer]:
    """Return what a source has, shortly after a file there has been written."""
    until = asyncio.get_running_loop().time() + _WRITTEN_SECONDS
    while True:
        offers = await source.list()
        written = any(offer.why_not.endswith(WRITTEN) for offer in offers)
        if not written or asyncio.get_running_loop().time() >= until:
            return offers
        await asyncio.sleep(0.1)


_WRITTEN_SECONDS: Final = 2.5  # a little more than what is asked for where nobody can tell who writes


@contextmanager
def held(places: Places) -> Iterator[FileJournal]:
    """Yield the queue's journal, this process its only writer. Raises UsageError while another monitor runs."""
    try:
        lock = acquire(places.lock, "monitor")
    except LockHeld as error:
        raise UsageError(
            f"A monitor works in {places.state} already ({error.holder}): end that one, or give this one a --name"
        ) from None
    with lock:
        compact(places.journal, lock, survivors)
        yield FileJournal(places.journal, lock)


def dispatch(places: Places, rehearsal: str = "", shared: Mapping[str, Any] = MappingProxyType({})) -> Dispatch:
    """Return who works the jobs of a monitor; `shared` are the settings that it gives to all of them."""
    return ProcessDispatch(below(places.here), os.environ, rehearsal=rehearsal, shared=shared)


async def retry(places: Places, journal: FileJournal, job: str, say: Callable[[str], None]) -> str:
    """Let a task begin anew, or go on at once, while no monitor runs; return why not, or "".

    The caller holds the journal. What a source has to be told is told at the next start.
    """
    writer = QueueWriter(journal, SystemClock(), lambda: None)
    hands = commands.Hands(writer, dispatch(places), FileResults(places.results), {}, say)
    command = Command(str(uuid.uuid4()), commands.RETRY, {"job": job})
    await commands.take(hands, command)
    return writer.queue.answers[command.id]


async def run(
    settings: MonitorSettings,
    journal: FileJournal,
    told: Audience,
    notifier: Notifier,
    *,
    rehearsal: str = "",
    once: bool = False,
) -> Ended:
    """Run the monitor; the caller holds the journal. Raises ClaudetmError."""
    clock, places = SystemClock(), settings.places
    views = FileViews(places.state)
    views.sweep((places.queue_state.name, places.about.name))
    ports = MonitorPorts(
        sources=sources(settings, _monitor_id(places), clock, told.notice),
        dispatch=_Overheard(dispatch(places, rehearsal, settings.flags), settings, told),
        journal=_Told(journal, told.event),
        results=FileResults(places.results),
        inbox=FileInbox(places.inbox),
        views=views,
        clock=clock,
    )
    monitor = Monitor(ports, policy(settings, once=once), told.notice, notifier.alive)
    with heeded(_stopped_by(monitor, told, notifier)):
        write_down(settings)
        notifier.ready(f"tasks from {', '.join(settings.sources)}")
        try:
            return await monitor.run()
        finally:
            views.flush()


def policy(settings: MonitorSettings, *, once: bool = False) -> MonitorPolicy:
    """Return what the monitor's loop goes by."""
    lanes = {Lane.WORK: settings.jobs, Lane.TALK: 1}
    return MonitorPolicy(poll=settings.poll, once=once, lanes=lanes, grace=settings.grace, stopping=STOPPING)


def write_down(settings: MonitorSettings) -> None:
    """Leave what `claudetm monitor status` tells of the monitor."""
    about = {"version": __version__, "pid": os.getpid(), "sources": list(settings.sources)}
    write_atomically(settings.places.about, json.dumps(about) + "\n")


def _monitor_id(places: Places, *, keep: bool = True) -> str:
    """Return what names this monitor at sources, the same over its restarts."""
    path = places.state / "monitor_id"
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        made = f"{os.uname().nodename}-{uuid.uuid4().hex[:8]}"
        if keep:
            write_atomically(path, f"{made}\n")
        return made


class _Overheard:
    """A dispatch whose jobs go by the monitor's settings where they say nothing, and whose notes people hear, too."""

    def __init__(self, inner: Dispatch, settings: MonitorSettings, told: Audience) -> None:
        self._inner = inner
        self._settings = settings
        self._told = told

    async def work(self, job: Job, told: Callable[[Note], None], stop: asyncio.Event) -> WorkOutcome:
        """Work a job."""

        def overheard(note: Note) -> None:
            self._told.progress(job.id, f"{note.stage}: {note.text}" if note.stage else note.text)
            told(note)

        return await self._inner.work(self._settings.equipped(job), overheard, stop)

    async def kept(self, job: Job) -> None:
        """Let its worker go on."""
        await self._inner.kept(job)

    async def awaits(self, job: Job) -> AwaitsPerson | None:
        """Return what it waits for."""
        return await self._inner.awaits(job)

    async def retry(self, job: Job) -> None:
        """Let it go on."""
        await self._inner.retry(job)

    async def forget(self, job: Job) -> None:
        """Remove what it left."""
        await self._inner.forget(job)


class _Told:
    """A journal whose records are told once they are durable."""

    def __init__(self, inner: Journal, told: Callable[[Record], None]) -> None:
        self._inner = inner
        self._tell = told

    async def append(self, record: Record) -> None:
        """Write a record, then tell of it."""
        await self._inner.append(record)
        self._tell(record)

    def read(self) -> Iterator[Record]:
        """Yield the records."""
        return self._inner.read()


def _stopped_by(monitor: Monitor, told: Audience, notifier: Notifier) -> Callable[[str, bool], None]:
    """Return what stops the monitor at a signal; at a second one now."""

    def stop(reason: str, again: bool) -> None:
        more = "what runs is stopped now" if again else "what runs may finish; once more stops it now"
        notifier.stopping(reason)
        told.notice(f"stopping: {reason}; {more}")
        monitor.stop()

    return stop
