"""What Sego is told of a job that has ended: a comment, an analysis or a reply, each found again before it is made.

A failed task goes to IN_REVIEW as well, with the reason: in BACKLOG it would qualify again at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from claudetm.adapters.sources.sego.claims import CONVERSATION, REQUEST, TASK, Claims, marked, marker
from claudetm.adapters.sources.sego.client import Answer, Client, Declined, Missing
from claudetm.adapters.sources.sego.refusals import clean
from claudetm.adapters.sources.sego.shapes import IN_REVIEW, Message, Person
from claudetm.ports.source import Job, Result, Status, slug
from claudetm.redact import redact

LONGEST: Final = 20_000  # characters of what is posted
UNANSWERED: Final = "This could not be answered automatically. Somebody of the project will have to answer it."


class Reports:
    """Reports results. Every call may raise SourceBusy and SourceRefused, and may be made again."""

    def __init__(self, client: Client, claims: Claims, notice: Callable[[str], None]) -> None:
        """Take what asks the server, what knows the claims, and who hears of what cannot be posted."""
        self._client = client
        self._notice = notice
        self._claims = claims
        self._me: Person | None = None

    async def task(self, job: Job, result: Result) -> None:
        """Post the result as a comment, once, and move the task to IN_REVIEW."""
        task = str(job.handle["id"])
        about = repr(result.completed)
        if not await self._told(task, about):
            text = f"{words(result)}\n\n{marker('result', about, result.status)}"
            path = self._client.path("comments", task=task)
            await self._post(job, path, {"text": text}, f"-{about}")
        await self._claims.end(TASK, task, IN_REVIEW)

    async def request(self, job: Job, result: Result) -> None:
        """Post the analysis, once; the server moves the request on."""
        whose = await self._claims.read(REQUEST, str(job.handle["id"]))
        if getattr(getattr(whose, "held", None), "analysis", None):
            self._claims.ended(REQUEST, str(job.handle["id"]))
            return
        path = self._client.path("analysis", request=str(job.handle["id"]))
        done = result.status is Status.COMPLETED
        text = (answer_of(result) if done else "") or words(result)
        await self._post(job, path, _answer(result, text), f"-{result.completed!r}")
        self._claims.ended(REQUEST, str(job.handle["id"]))

    async def conversation(self, job: Job, result: Result) -> None:
        """Post the reply, once; the client reads nothing of what went wrong."""
        talk, message = str(job.handle["id"]), str(job.handle["message"])
        if any(m.reply_to == message and m.role == "assistant" for m in await self.messages(talk)):
            self._claims.ended(CONVERSATION, talk)
            return
        failed = result.status is not Status.COMPLETED
        text = UNANSWERED if failed else answer_of(result) or UNANSWERED
        body = {**_answer(result, text), "replyTo": message}
        await self._post(job, self._client.path("messages", conversation=talk), body)
        self._claims.ended(CONVERSATION, talk)

    async def _post(self, job: Job, path: str, body: Mapping[str, Any], of: str = "") -> None:
        match await self._client.post(path, body, f"claudetm-{slug(job.id)}{of}"):
            case Missing():
                said = "has nothing"
            case Declined(status, why):
                said = f"answers {status} ({why})"
            case _:
                return
        self._notice(f"Sego {said} at {clean(path)}, so the result of {job.id} is told here alone")

    async def messages(self, talk: str) -> list[Message]:
        """Return the messages of a conversation, in order; what cannot be read is left out."""
        found = await self._client.pages(self._client.path("messages", conversation=talk), "messages")
        read = []
        for each in found if isinstance(found, list) else []:
            try:
                read.append(Message.model_validate(each))
            except ValidationError:
                continue  # of a kind that this contract does not know
        return read

    async def _told(self, task: str, about: str) -> bool:
        """Return whether a comment by us reports that result."""
        me = await self._self()
        return any(
            marked(c) == ("result", about) and (me is None or c.author is None or c.author.id == me.id)
            for c in await self._claims.comments(task)
        )

    async def _self(self) -> Person | None:
        """Return whose the key is; None where the server does not say."""
        if self._me is None:
            answer = await self._client.get(self._client.path("key"))
            if isinstance(answer, Answer):
                try:
                    self._me = Person.model_validate(answer.body)
                except ValidationError:
                    return None
        return self._me


def answer_of(result: Result) -> str:
    """Return what the agent answered, whole."""
    return redact(result.output.raw or result.output.summary)[:LONGEST]


def words(result: Result) -> str:
    """Return a result as people read it."""
    output = result.output
    parts = []
    if result.status is not Status.COMPLETED:
        parts.append(f"**claudetm could not do this.** {result.error}")
    parts.append(output.summary or output.raw)
    made = [a for a in output.artifacts if a.get("kind") != "log"]  # a path of this machine
    parts.append("\n".join(f"- {a.get('kind', '')}: {a.get('url') or a.get('name', '')}" for a in made))
    if any(a.get("kind") == "snapshot" for a in made):
        parts.append(f"`claudetm monitor apply {result.job}` brings it into the checkout.")
    if output.score is not None:
        parts.append(f"Audit: {output.score} of 100. {output.notes}".strip())
    if output.cost_usd:
        parts.append(f"Cost: ${output.cost_usd:.2f}")
    return redact("\n\n".join(part for part in parts if part))[:LONGEST] or "Done."


def _answer(result: Result, text: str) -> dict[str, Any]:
    return {"text": text, "outcome": str(result.status), "costUsd": result.output.cost_usd}


KINDS: Final = {"task": TASK, "request": REQUEST, "conversation": CONVERSATION}
"""What a job's handle names."""
