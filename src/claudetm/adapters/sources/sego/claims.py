"""Whose a task, a request or a conversation is: moved to IN_PROGRESS with our name, then read again.

`claimedBy` says who has it. On a server that does not keep that field, what this monitor has noted to have moved is
its own; of a task a comment with a marker tells it to others, too: the first claim since the last release holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from claudetm.adapters.sources.sego.client import Answer, Client, Declined, Outcome
from claudetm.adapters.sources.sego.memory import Moved
from claudetm.adapters.sources.sego.refusals import clean
from claudetm.adapters.sources.sego.shapes import (
    BACKLOG,
    IN_PROGRESS,
    OPEN,
    WAITING,
    ClientRequest,
    Comment,
    Conversation,
    Held,
    Task,
)
from claudetm.ports.source import slug


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing that can be claimed: the name of its path, where it waits, its shape."""

    path: str
    waits: str
    shape: type[Held]


TASK: Final = Kind("task", BACKLOG, Task)
REQUEST: Final = Kind("request", OPEN, ClientRequest)
CONVERSATION: Final = Kind("conversation", WAITING, Conversation)


@dataclass(frozen=True, slots=True)
class Ours:
    """It is ours, as it was read last."""

    held: Held


@dataclass(frozen=True, slots=True)
class Others:
    """Somebody else has it; `by` is their name, "" where Sego does not say."""

    by: str


@dataclass(frozen=True, slots=True)
class Free:
    """It waits to be taken."""

    held: Held


@dataclass(frozen=True, slots=True)
class Over:
    """It is not there, or it stands where nobody takes it. `lasting`: asked again soon, it would be so still."""

    why: str
    lasting: bool = False


Whose = Ours | Others | Free | Over
_MARKER: Final = re.compile(r"<!-- claudetm:(claim|release|result) (\S+)[^\n]* -->\s*\Z")


def marker(word: str, *about: str) -> str:
    """Return what a comment of ours ends with, for us to find it again."""
    return f"<!-- claudetm:{word} {' '.join(about)} -->"


def marked(comment: Comment) -> tuple[str, str]:
    """Return the marker that a comment ends with, and its first word; ("", "") for none."""
    found = _MARKER.search(comment.text)
    return (found[1], found[2]) if found else ("", "")


class Claims:
    """The claims of one monitor. Every call may raise SourceBusy and SourceRefused."""

    def __init__(self, client: Client, notice: Callable[[str], None]) -> None:
        """Take what asks the server, and who hears of what cannot be read."""
        self._client = client
        self._notice = notice
        self.me = client.settings.monitor
        self._moved = Moved(client.settings.taken, client.clock)

    async def read(self, kind: Kind, id_: str) -> Whose:
        """Return whose it is now."""
        path = self._client.path(kind.path, **{kind.path: id_})
        answer = await self._client.get(path)
        if isinstance(answer, Declined):
            return Over(_declined(answer), lasting=True)
        if not isinstance(answer, Answer):
            return Over("it is not there")
        try:
            held = kind.shape.model_validate(answer.body)
        except ValidationError as error:
            return Over(f"what Sego says of it cannot be read: {misfit(error)}", lasting=True)
        return await self.whose(kind, held)

    async def whose(self, kind: Kind, held: Held) -> Whose:
        """Return whose a thing is that was just read."""
        if held.status == kind.waits:
            return Free(held)
        if held.status != IN_PROGRESS:
            return Over(f"its status is {clean(held.status)}")
        if held.claimed_by:
            return Ours(held) if held.claimed_by == self.me else Others(clean(held.claimed_by))
        if kind is TASK:
            return await self._by_comment(held)
        return Ours(held) if (kind.path, held.id) in self._moved else Others("")

    async def keep(self, kind: Kind, id_: str) -> Whose:
        """Return whose it is now. What is not ours is forgotten: nobody else's move is taken for ours later."""
        whose = await self.read(kind, id_)
        if not isinstance(whose, Ours):
            self._moved.forget((kind.path, id_))
        return whose

    async def take(self, kind: Kind, id_: str) -> Whose:
        """Move it to IN_PROGRESS unless somebody has, and read again. Free: it was moved back in between."""
        whose = await self.read(kind, id_)
        if isinstance(whose, Free):
            self._moved.note((kind.path, id_))
            moved = await self._move(kind, id_, kind.waits, IN_PROGRESS, self.me)
            if not isinstance(moved, Answer):
                self._moved.forget((kind.path, id_))
            if isinstance(moved, Declined):
                return Over(_declined(moved), lasting=True)
            whose = await self.read(kind, id_)
        if isinstance(whose, Ours) and kind is TASK and not whose.held.claimed_by:
            return await self._signed(id_, whose)
        return whose

    async def _signed(self, id_: str, ours: Ours) -> Whose:
        """Say in a comment that a task is ours, where none does, and read again whose came first."""
        if await self._holder(id_) == slug(self.me):
            return ours
        await self._comment(id_, "claudetm works on this task.", "claim")
        return await self.read(TASK, id_)

    async def release(self, kind: Kind, id_: str, why: str) -> None:
        """Let anybody take it, if it is ours."""
        whose = await self.read(kind, id_)
        if isinstance(whose, Ours):
            await self._moved_on(kind, id_, kind.waits, None)
            if kind is TASK and not whose.held.claimed_by:
                await self._comment(id_, f"claudetm has given this task back: {why}", "release")
        self._moved.forget((kind.path, id_))

    async def end(self, kind: Kind, id_: str, status: str) -> None:
        """Move it on, if it is ours; whoever moved it elsewhere meant it."""
        if isinstance(await self.read(kind, id_), Ours):
            await self._moved_on(kind, id_, status, self.me)
        self.ended(kind, id_)

    def ended(self, kind: Kind, id_: str) -> None:
        """Take note that it is ours no more."""
        self._moved.forget((kind.path, id_))

    async def _moved_on(self, kind: Kind, id_: str, status: str, who: str | None) -> None:
        if isinstance(said := await self._move(kind, id_, IN_PROGRESS, status, who), Declined):
            self._notice(f"Sego leaves {kind.path} {clean(id_)} in {IN_PROGRESS}: {_declined(said)}")

    async def reopen(self, kind: Kind, id_: str, ended: str) -> None:
        """Let what has ended be taken anew; whoever moved it elsewhere meant it."""
        answer = await self._client.get(self._client.path(kind.path, **{kind.path: id_}))
        if isinstance(answer, Answer) and isinstance(answer.body, dict) and answer.body.get("status") == ended:
            await self._move(kind, id_, ended, kind.waits, None)

    async def comments(self, task: str) -> list[Comment]:
        """Return the comments on a task, in order; what cannot be read is left out."""
        path = self._client.path("comments", task=task)
        found = await self._client.pages(path, "comments")
        if not isinstance(found, list):
            return []
        return [c for each in found if (c := self._comment_of(each)) is not None]

    def _comment_of(self, said: object) -> Comment | None:
        try:
            return Comment.model_validate(said)
        except ValidationError as error:
            self._notice(f"A comment of Sego cannot be read and is left out: {misfit(error)}")
            return None

    async def _move(self, kind: Kind, id_: str, of: str, to: str, who: str | None) -> Outcome:
        path = self._client.path(kind.path, **{kind.path: id_})
        return await self._client.patch(path, {"status": to, "expectedStatus": of, "claimedBy": who})

    async def _by_comment(self, held: Held) -> Whose:
        holder = await self._holder(held.id)
        ours = holder == slug(self.me) or (not holder and (TASK.path, held.id) in self._moved)
        return Ours(held) if ours else Others(clean(holder))

    async def _holder(self, task: str) -> str:
        """Return who claimed a task first since it was last given back or done, "" for nobody."""
        holder = ""
        for comment in await self.comments(task):
            word, who = marked(comment)
            if word == "claim":
                holder = holder or who
            elif word:
                holder = ""
        return holder

    async def _comment(self, id_: str, text: str, word: str) -> None:
        body = {"text": f"{text}\n\n{marker(word, slug(self.me))}"}
        await self._client.post(self._client.path("comments", task=id_), body)


def _declined(said: Declined) -> str:
    return f"Sego answers {said.status} ({said.why})"


def misfit(error: ValidationError) -> str:
    """Return what is wrong with an answer as one clause, without repeating what it held."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(step) for step in first["loc"]) or "the whole"
    return clean(f"{where}: {first['msg']}")
