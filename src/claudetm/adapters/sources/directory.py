"""Tasks from a directory: each `task-*.md` right in it is one, until `results/<its name>.json` exists.

The files are the user's: they are read, never changed. What is wrong with one is said in the listing, with its line,
and it is taken as soon as that is mended, so no result of it ever comes in between.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, assert_never

from claudetm.adapters.sources.task_claims import Claims, Held
from claudetm.adapters.sources.task_document import Document, Flaw
from claudetm.adapters.sources.task_file import Unsettled
from claudetm.adapters.sources.task_folder import DirectorySettings, TaskFolder, Waiting
from claudetm.adapters.sources.task_offers import offered, repository_flaw, repository_of
from claudetm.adapters.sources.watching import NotWatching, Watching, watch
from claudetm.ports.clock import Clock
from claudetm.ports.source import (
    Claimed,
    ClaimOutcome,
    Gone,
    Job,
    Note,
    Offer,
    Result,
    SourceBusy,
    SourceRefused,
    Taken,
)

NAME: Final = "directory"
TICK_SECONDS: Final = 1.0  # between two looks while nothing is said to have changed
SETTLE_SECONDS: Final = 0.1  # the same while a file has just been written
_SETTLING_SECONDS: Final = 3.0  # for which a file has just been written
_BUSY_SECONDS: Final = 30.0


class DirectorySource:
    """Implements ports/source.Source. `notice` is told, in a sentence, what users should know."""

    def __init__(
        self, settings: DirectorySettings, clock: Clock, notice: Callable[[str], None] = lambda _sentence: None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._notice = notice
        owner = settings.owner or f"{os.uname().nodename}:{settings.base.absolute()}"
        self._folder = TaskFolder(settings, clock.now)
        self._claims = Claims(settings.tasks, owner, clock.now)
        self._place = -1  # the folder, held open: its inode names no other as long as it is
        self._offered: frozenset[str] = frozenset()
        self._woken = asyncio.Event()
        self._watching: Watching | NotWatching | None = None
        self._said: set[str] = set()
        self._amiss: set[str] = set()  # what is wrong with files, at the last look
        self._told: set[str] = set()  # the same, as it was said

    @property
    def name(self) -> str:
        """Return `directory`."""
        return NAME

    async def list(self) -> Sequence[Offer]:
        """Return what has no result, in the order in which it came. Changes nothing."""
        offers = self._look()
        self._offered = _takeable(offers)
        return offers

    async def claim(self, job: str) -> ClaimOutcome:
        """Take the flock on the job's claim, then read its file as it is now; a save under way is awaited shortly."""
        with self._asked():
            self._prepare()
            if self._folder.ended(job) or self._folder.one(job) is None:
                return self._gone(job)
            match self._claims.take(job):
                case Taken() as taken:
                    return taken
                case Held(deaths):
                    return await self._claimed(job, deaths)

    async def reclaim(self, job: Job) -> ClaimOutcome:
        """Take the flock on the claim again: the file counted as it was, and nothing that it says now does."""
        with self._asked():
            self._prepare()
            if self._folder.ended(job.id):
                return self._gone(job.id)
            match self._claims.take(job.id):
                case Taken() as taken:
                    return taken
                case Held(deaths):
                    return Claimed(job, deaths)

    async def keep(self, job: Job) -> bool:
        """Return whether the claim is ours. Nothing need be shown: the flock lasts as long as this process."""
        with self._asked():
            self._prepare()
            return self._claims.keep(job.id)

    async def progress(self, job: Job, note: Note) -> None:
        """Take note of the stage in the claim; people see progress in `claudetm monitor status`."""
        self._claims.tell(job.id, note.stage[:_STAGE])

    async def finish(self, job: Job, result: Result) -> None:
        """End the claim: the result stands in its file already, and that is the report."""
        del result
        with self._asked():
            self._claims.release(job.id)

    async def give_back(self, job: Job, why: str) -> None:
        """End the claim; why is for the monitor's own log."""
        del why
        with self._asked():
            self._claims.release(job.id)

    async def hint(self) -> None:
        """Return when something can be taken that could not be at the last `list`; say what has to be mended."""
        while True:
            with suppress(SourceBusy, SourceRefused):  # the sweep says it
                with self._asked():
                    self._prepare()
                offers = self._look()
                self._watch()
                self._say_amiss()
                if not _takeable(offers) <= self._offered:
                    return
            await self._change()

    async def close(self) -> None:
        """Stop watching. The claims stay until the process ends."""
        self._leave()
        self._claims.close()

    # --- looking -------------------------------------------------------------------------------------------

    def _look(self) -> Sequence[Offer]:
        with self._asked():
            found = self._folder.look()
            offers = [offered(waiting, self._settings.base) for waiting in found]
        self._amiss = {o.why_not for w, o in zip(found, offers, strict=True) if o.why_not and w.settled}
        return offers

    def _say_amiss(self) -> None:
        """Say of each file once what is wrong with it, and again where that is something else."""
        for why in sorted(self._amiss - self._told):
            self._notice(f"{why}; it is taken once that is mended.")
        self._told = self._amiss

    # --- claiming ------------------------------------------------------------------------------------------

    def _gone(self, job: str) -> Gone:
        if self._folder.ended(job):
            return Gone(f"{self._settings.result(job)} is there already")
        return Gone(f"{self._settings.tasks / job}{self._settings.suffix} is not there any more")

    async def _claimed(self, job: str, deaths: int) -> ClaimOutcome:
        """Return what comes of a claim that is ours, and end it where nothing does."""
        outcome: ClaimOutcome = Taken("somebody who is writing it")
        try:
            for _ in range(_ATTEMPTS):
                if not isinstance(outcome := self._read(job, deaths), Taken):
                    break
                await self._clock.sleep(SETTLE_SECONDS)
        finally:
            if not isinstance(outcome, Claimed):
                self._claims.release(job)
        return outcome

    def _read(self, job: str, deaths: int) -> ClaimOutcome:
        """Return what the file says now: whoever had the claim before may have ended the job."""
        waiting = self._folder.one(job)
        if waiting is None or self._folder.ended(job):
            return self._gone(job)
        match waiting.state:
            case Unsettled():
                return Taken("somebody who is writing it")
            case Flaw() as flaw:
                return Gone(f"it has to be mended: {flaw.of(waiting.name)}")
            case Document() as document:
                if (amiss := repository_flaw(document, self._settings.base)) is not None:
                    return Gone(f"it has to be mended: {amiss.of(waiting.name)}")
                return Claimed(self._job(waiting, document), deaths)
            case other:
                assert_never(other)

    def _job(self, waiting: Waiting, document: Document) -> Job:
        return Job(
            waiting.id,
            NAME,
            document.text,
            document.title,
            document.mode or self._settings.mode,
            waiting.created,
            skill=document.skill,
            repository=str(repository_of(document, self._settings.base)) if document.repository else "",
            settings=document.settings,
        )

    # --- the folder ----------------------------------------------------------------------------------------

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Turn what the disk refuses into what the monitor understands."""
        tasks = self._settings.tasks
        try:
            yield
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise SourceRefused(
                f"{error.filename or tasks} cannot be used for tasks: {error.strerror}; mend that, then start again"
            ) from error
        except OSError as error:
            raise SourceBusy(
                f"{error.filename or tasks} cannot be read now: {error.strerror}", self._clock.now() + _BUSY_SECONDS
            ) from error

    def _prepare(self) -> None:
        """Make the folder where it is not there, and begin anew with one that came in its place."""
        tasks = self._settings.tasks
        tasks.mkdir(parents=True, exist_ok=True)
        if self._place >= 0 and os.path.samestat(os.fstat(self._place), tasks.stat()):
            return
        place = os.open(tasks, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._claims.prepare()
            self._claims.tidy(self._folder.over)
        except BaseException:
            os.close(place)
            raise
        if self._place >= 0:
            self._notice(f"{tasks} was removed or replaced: the folder that is there now is watched.")
        self._leave()
        self._place = place

    def _leave(self) -> None:
        """Let go of the folder that is no longer the one."""
        if self._watching is not None:
            self._watching.stop()
        if self._place >= 0:
            os.close(self._place)
        self._watching, self._place = None, -1

    def _watch(self) -> None:
        if self._watching is not None:
            return
        self._watching = watch(self._settings.tasks, self._woken.set)
        if isinstance(self._watching, NotWatching) and self._watching.why not in self._said:
            self._said.add(self._watching.why)
            self._notice(
                f"{self._settings.tasks} cannot be watched ({self._watching.why}): it is looked at each second."
            )

    async def _change(self) -> None:
        """Wait until something may have changed."""
        for _ in range(1 + self._folder.spared):
            if await self._wait() or not self._folder.unchanged():
                return

    async def _wait(self) -> bool:
        """Wait until something changed, and no longer than until the next look; return whether anything did."""
        seconds = SETTLE_SECONDS if self._folder.settling(_SETTLING_SECONDS) else TICK_SECONDS
        woken = asyncio.ensure_future(self._woken.wait())
        slept = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((woken, slept), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            slept.cancel()
        if not self._woken.is_set():
            return False
        await self._clock.sleep(_TOGETHER)  # what comes in a burst is looked at together
        self._woken.clear()
        return True


_TOGETHER: Final = 0.02  # seconds
_STAGE: Final = 100  # characters
_ATTEMPTS: Final = 10  # at a file that is just being saved


def _takeable(offers: Sequence[Offer]) -> frozenset[str]:
    return frozenset(offer.id for offer in offers if not offer.why_not)
