"""Progress to Sego's web app: a change at once, else at most every few seconds, and never a job's undoing."""

from __future__ import annotations

from collections.abc import Callable

from claudetm.adapters.sources.sego.client import Answer, Client, Declined, Missing
from claudetm.ports.source import Job, Note
from claudetm.redact import printable, redact

_LONGEST = 2_000  # characters of a line


class Telling:
    """What was told of each job last, and when."""

    def __init__(self, client: Client, notice: Callable[[str], None]) -> None:
        """Tell nothing yet."""
        self._client = client
        self._notice = notice
        self._last: dict[str, tuple[float, tuple[str, bool, str]]] = {}
        self._offered = True  # whether the server takes progress

    async def tell(self, job: Job, note: Note) -> None:
        """Pass a note on unless one was a moment ago. May raise SourceBusy and SourceRefused."""
        now, what = self._client.clock.now(), (note.stage, note.waiting, note.link)
        then, told = self._last.get(job.id, (0.0, None))
        if not self._offered or (told == what and now - then < self._client.settings.progress_every):
            return
        self._last[job.id] = (now, what)
        match await self._client.post(self._client.path("progress", task=str(job.handle["id"])), _body(note)):
            case Missing() if await self._there(job):
                self._offered = False
                self._notice("Sego takes no progress of tasks: the result alone is reported")
            case Declined(status, why):
                self._notice(f"Sego takes no progress of {job.id}: it answers {status} ({why})")
            case _:
                return

    async def _there(self, job: Job) -> bool:
        """Return whether the task itself is there: else it is that which is missing."""
        return isinstance(await self._client.get(self._client.path("task", task=str(job.handle["id"]))), Answer)

    def forget(self, job: str) -> None:
        """Let go of a job that has ended."""
        self._last.pop(job, None)


def _body(note: Note) -> dict[str, object]:
    text = redact(printable(note.text))[:_LONGEST]
    told = {"stage": note.stage, "text": text, "costUsd": note.cost_usd, "waiting": note.waiting}
    return {**told, "link": note.link} if note.link else told
