"""The monitor's source at a Sego server: tasks, client requests and conversations, claimed, worked, reported.

A stream of events only hastens the next listing. One monitor a project: a claim never passes over by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, assert_never

from claudetm.adapters.sources.sego import jobs
from claudetm.adapters.sources.sego.claims import (
    CONVERSATION,
    REQUEST,
    TASK,
    Claims,
    Free,
    Others,
    Ours,
    Over,
)
from claudetm.adapters.sources.sego.client import Client
from claudetm.adapters.sources.sego.events import Stream
from claudetm.adapters.sources.sego.listing import Listing, Ref
from claudetm.adapters.sources.sego.reports import KINDS, Reports
from claudetm.adapters.sources.sego.settings import SegoSettings
from claudetm.adapters.sources.sego.shapes import ANALYSED, IN_REVIEW, ClientRequest, Conversation, Project, Task
from claudetm.adapters.sources.sego.telling import Telling
from claudetm.ports.clock import Clock
from claudetm.ports.source import (
    Claimed,
    ClaimOutcome,
    Gone,
    Job,
    Note,
    Offer,
    Refused,
    Result,
    SourceBusy,
    SourceRefused,
    Taken,
)


class SegoSource:
    """Implements ports/source.Source and Reopening."""

    def __init__(self, settings: SegoSettings, clock: Clock, notice: Callable[[str], None]) -> None:
        """Ask nothing yet. `notice` hears what is left out, each sentence once."""
        self._settings = settings
        self._heard: set[str] = set()
        self._notice = notice
        self._client = Client(settings, clock)
        self._claims = Claims(self._client, self._once)
        self._listing = Listing(self._client, self._claims, self._once)
        self._reports = Reports(self._client, self._claims, self._once)
        self._telling = Telling(self._client, self._once)
        self._woken = asyncio.Event()
        self._stream: asyncio.Task[None] | None = None
        self._stumbles: dict[str, int] = {}  # claims in a row that the server failed at

    @property
    def name(self) -> str:
        """Return `sego`."""
        return "sego"

    def _once(self, sentence: str) -> None:
        if sentence not in self._heard and len(self._heard) < _HEARD:
            self._heard.add(sentence)
            self._notice(sentence)

    async def list(self) -> Sequence[Offer]:
        """Return what waits and what does not qualify."""
        return await self._listing.offers()

    async def claim(self, job: str) -> ClaimOutcome:
        """Take a job: look whether it qualifies, move it, read again."""
        ref = await self._ref(job)
        if ref is None:
            return Gone("Sego lists it no longer")
        try:
            outcome = await self._claim(ref)
        except SourceBusy as busy:
            if not await self._stumbled(job):
                raise
            return Gone(self._listing.pass_over(job, str(busy)))
        self._stumbles.pop(job, None)
        return outcome

    async def _claim(self, ref: Ref) -> ClaimOutcome:
        whose = await self._claims.read(ref.kind, ref.id)
        if isinstance(whose, Free) and (unfit := await self._unfit(ref, whose)) is not None:
            return unfit
        if isinstance(whose, Free | Ours):
            whose = await self._claims.take(ref.kind, ref.id)
        match whose:
            case Ours():
                return await self._job(ref, whose)
            case Others(by=by):
                return Taken(by or "somebody whom Sego does not name")
            case Free():
                return Taken("somebody who moved it back at once")
            case Over(why=why, lasting=lasting):
                return Gone(self._listing.pass_over(jobs.job_id(*_parts(ref)), why) if lasting else why)
        assert_never(whose)

    async def _stumbled(self, job: str) -> bool:
        """Return whether the server fails at this job alone, again and again, so that others shall have a turn.

        Raises SourceBusy, SourceRefused where it fails at all.
        """
        self._stumbles[job] = self._stumbles.get(job, 0) + 1
        if self._stumbles[job] < _STUMBLES or job not in self._listing.waits:
            return False
        await self._client.get(self._client.path("tasks"), limit="1")
        del self._stumbles[job]
        return True

    async def _ref(self, job: str) -> Ref | None:
        """Return what a job's id stands for. What hides its parts is found in a listing alone."""
        if job not in self._listing.refs:
            await self.list()
        kind, _, id_ = job.partition("-")
        plain = kind in {"sego", "request"} and id_ not in {"", ".", ".."} and jobs.job_id(kind, id_) == job
        return self._listing.refs.get(job) or (Ref(TASK if kind == "sego" else REQUEST, id_) if plain else None)

    async def _unfit(self, ref: Ref, free: Free) -> ClaimOutcome | None:
        """Return why what waits is not taken, None where it is."""
        if why := self._listing.left(jobs.job_id(*_parts(ref)), free.held):
            return Gone(why)
        match free.held:
            case Task() as task:
                if why := self._listing.why_not(task, await self._project(task.project_id)):
                    return Gone(why)
                text = jobs.task_text(task)
                if not text.strip():
                    return Refused("it has neither a title nor a description")
                size = len(text.encode())
                wrong = f"its text has {size} bytes; {jobs.LONGEST_TEXT} is the most"
                return Refused(wrong) if size > jobs.LONGEST_TEXT else None
            case Conversation(last_message_id=last) if last != ref.message:
                return Gone("it is answered, or a later message has come")
            case _:
                return None

    async def _project(self, id_: str) -> Project | None:
        """Return a project that is this monitor's; None for another, and for one of many that is gone."""
        if self._settings.project == id_:
            return await self._listing.project(id_)
        found = None if self._settings.project else await self._listing.seek(id_)
        return found if isinstance(found, Project) else None

    async def _job(self, ref: Ref, ours: Ours) -> ClaimOutcome:
        """Return the job whole, read anew."""
        self._listing.refs.setdefault(jobs.job_id(*_parts(ref)), ref)
        project = await self._project(ours.held.project_id)
        match ours.held:
            case Task() as task:
                return Claimed(jobs.task_job(self._settings, task, project, await self._claims.comments(task.id)))
            case ClientRequest() as request:
                return Claimed(jobs.request_job(request, project))
            case Conversation() as talk:
                messages = await self._reports.messages(talk.id)
                if any(m.reply_to == ref.message for m in messages if m.role == "assistant"):
                    return Gone("it is answered")
                return Claimed(jobs.conversation_job(talk, ref.message, messages, project))
            case other:
                raise AssertionError(other)

    async def keep(self, job: Job) -> bool:
        """Look whether it is ours still."""
        whose = await self._claims.keep(KINDS[job.handle["kind"]], str(job.handle["id"]))
        if isinstance(whose, Free):
            self._listing.leave(job.id, whose.held)
        return isinstance(whose, Ours)

    async def progress(self, job: Job, note: Note) -> None:
        """Stream a task's progress to the web app, where that is wanted and not too often."""
        if self._settings.stream_progress and job.handle["kind"] == "task":
            with suppress(SourceBusy):  # the next note tells the same and more
                await self._telling.tell(job, note)

    async def finish(self, job: Job, result: Result) -> None:
        """Report the result, once, and move it on."""
        match job.handle["kind"]:
            case "task":
                await self._reports.task(job, result)
            case "request":
                await self._reports.request(job, result)
            case _:
                await self._reports.conversation(job, result)
        self._telling.forget(job.id)

    async def give_back(self, job: Job, why: str) -> None:
        """Move it back to where it waits, if it is ours; the web app is told why."""
        self._telling.forget(job.id)
        await self.progress(job, Note("given back", why))
        self._telling.forget(job.id)
        await self._claims.release(KINDS[job.handle["kind"]], str(job.handle["id"]), why)

    async def reopen(self, job: str) -> None:
        """Move what has ended back to where it waits. A client was answered once and for all."""
        ref = await self._ref(job)
        if ref is not None and ref.kind in _ENDED:
            await self._claims.reopen(ref.kind, ref.id, _ENDED[ref.kind])
            self._woken.set()  # it waits now

    async def hint(self) -> None:
        """Return when something may wait. Raises SourceRefused once, where the stream refuses the key."""
        if self._stream is None and self._settings.stream and self._settings.project:
            stream = Stream(self._client, self._woken.set, self._once)
            self._stream = asyncio.create_task(stream.run(), name="sego-events")
            self._stream.add_done_callback(lambda _: self._woken.set())
        await self._woken.wait()
        self._woken.clear()
        if self._stream is not None and self._stream.done() and not self._stream.cancelled():
            try:
                self._stream.result()
            except SourceRefused as refused:
                self._once(f"Sego's stream of events: {refused}")  # the sweep may fare better, and goes on
                raise

    async def close(self) -> None:
        """End the stream and close the connections."""
        if self._stream is not None:
            self._stream.cancel()
            await asyncio.gather(self._stream, return_exceptions=True)
        await self._client.close()


_STUMBLES: Final = 3
_HEARD: Final = 100  # sentences of what is amiss there; a server may have no end of them
_ENDED: Final = {TASK: IN_REVIEW, REQUEST: ANALYSED}


def _parts(ref: Ref) -> tuple[str, ...]:
    prefix = {TASK: "sego", REQUEST: "request", CONVERSATION: "conversation"}[ref.kind]
    return (prefix, ref.id, *([ref.message] if ref.message else []))
