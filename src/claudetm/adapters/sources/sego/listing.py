"""What waits at a Sego server, and what of it does not qualify, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from claudetm.adapters.sources.sego import refusals
from claudetm.adapters.sources.sego.claims import (
    CONVERSATION,
    REQUEST,
    TASK,
    Claims,
    Free,
    Kind,
    Others,
    Ours,
    Over,
    Whose,
    misfit,
)
from claudetm.adapters.sources.sego.client import FORBIDDEN, Answer, Client, Declined, Missing
from claudetm.adapters.sources.sego.jobs import job_id, title_of
from claudetm.adapters.sources.sego.refusals import clean
from claudetm.adapters.sources.sego.shapes import IN_PROGRESS, Conversation, Held, Project, Shape, Task
from claudetm.ports.source import Lane, Offer, SourceRefused

S = TypeVar("S", bound=Shape)
_WHAT: Final = {"task": "task", "request": "client request", "conversation": "conversation"}

_LEFT_ALONE: Final = 600.0  # seconds
_TAKEN_BACK: Final = "somebody moved it back while it was worked: it is left alone until they change it"


@dataclass(frozen=True, slots=True)
class Ref:
    """What a job's id stands for at the server."""

    kind: Kind
    id: str
    message: str = ""


class Listing:
    """Reads what there is. Every call may raise SourceBusy and SourceRefused."""

    def __init__(self, client: Client, claims: Claims, notice: Callable[[str], None]) -> None:
        """Take what asks the server, what knows the claims, and who hears of what is left out."""
        self._client = client
        self._claims = claims
        self._notice = notice
        self._settings = client.settings
        self._seen: dict[tuple[str, object], Whose] = {}  # whose a task in progress is, by when it changed
        self._passed: dict[str, tuple[float, datetime | None, str]] = {}  # see pass_over, leave
        self.waits: set[str] = set()  # jobs that nobody had when they were listed last
        self.refs: dict[str, Ref] = {}

    async def offers(self) -> Sequence[Offer]:
        """Return everything that waits, in the order in which it came."""
        projects = await self.projects()
        found: list[Offer] = []
        if not self._settings.conversation_only:
            found += await self._tasks(projects)
        if self._settings.project:
            if not self._settings.conversation_only:
                found += await self._talks(REQUEST, "requests", "clientRequests")
            found += await self._talks(CONVERSATION, "conversations", "conversations")
        return sorted(found, key=lambda o: (o.created, o.id))

    def pass_over(self, job: str, why: str) -> str:
        """Leave a job alone for a while that the server does not let be taken, so that others are; return why."""
        self._passed[job] = (self._client.clock.now() + _LEFT_ALONE, None, why)
        return why

    def leave(self, job: str, held: Held) -> None:
        """Leave a job alone that a person has moved back, until somebody changes it."""
        until = inf if held.updated_at else self._client.clock.now() + _LEFT_ALONE
        self._passed[job] = (until, held.updated_at, _TAKEN_BACK)

    def left(self, job: str, held: Held) -> str:
        """Return why what waits is left alone now, or ""."""
        until, when, why = self._passed.get(job, (0.0, None, ""))
        return why if until > self._client.clock.now() and when in {None, held.updated_at} else ""

    async def projects(self) -> dict[str, Project]:
        """Return the projects by their ids: the one that is set, else all that the key sees."""
        if self._settings.project:
            one = await self.project(self._settings.project)
            return {one.id: one}
        path = self._client.path("projects")
        said = self._client.whole(path, await self._client.pages(path, "projects"))
        return {p.id: p for p in self._read(Project, said, "project")}

    async def project(self, id_: str) -> Project:
        """Return one project. Raises SourceRefused where it is not there."""
        found = await self.seek(id_)
        if isinstance(found, SourceRefused):
            raise found
        return found

    async def seek(self, id_: str) -> Project | SourceRefused:
        """Return one project, or what is to be said where it is not there."""
        path = self._client.path("project", project=id_)
        answer = await self._client.get(path)
        if isinstance(answer, Declined) and answer.status != FORBIDDEN:
            return refusals.not_understood(answer.status, path, answer.why)
        if not isinstance(answer, Answer):
            return refusals.no_project(id_)
        try:
            return Project.model_validate(answer.body)
        except ValidationError as error:
            return refusals.not_understood(200, path, misfit(error))

    def why_not(self, task: Task, project: Project | None) -> str:
        """Return why a task in BACKLOG is not taken by itself, as a clause, or ""."""
        if project is None:
            return f"its project {clean(task.project_id)} is not one of this monitor's"
        name = clean(project.name or project.id)
        if not project.auto_task.enabled:
            return f"auto-task is off in project {name}"
        if task.ai_confidence is None:
            return "it has no AI confidence yet"
        least = project.auto_task.threshold
        return f"its AI confidence {task.ai_confidence:g} is below {least:g}" if task.ai_confidence < least else ""

    async def _tasks(self, projects: dict[str, Project]) -> list[Offer]:
        path = self._client.path("tasks")
        query = {"projectId": self._settings.project} if self._settings.project else {}
        found: dict[str, Task] = {}
        for status in (TASK.waits, IN_PROGRESS):
            said = self._client.whole(path, await self._client.pages(path, "tasks", **query, status=status))
            # A server may know no filters.
            found |= {t.id: t for t in self._read(Task, said, "task") if t.status in {TASK.waits, IN_PROGRESS}}
        return [await self._task(t, projects.get(t.project_id)) for t in found.values()]

    async def _task(self, task: Task, project: Project | None) -> Offer:
        id_ = self._named(Ref(TASK, task.id), "sego", task.id)
        whose = await self._whose(TASK, task)
        why = self.why_not(task, project) or self.left(id_, task) if isinstance(whose, Free) else taken(whose)
        self._seen_waiting(id_, whose)
        return Offer(id_, title_of(task), task.created, why_not=why)

    async def _whose(self, kind: Kind, held: Held) -> Whose:
        """Return whose it is; comments are read once for each change of a task."""
        if held.status != IN_PROGRESS or held.claimed_by or held.updated_at is None:
            return await self._claims.whose(kind, held)
        key = (held.id, held.updated_at)
        if key not in self._seen:
            self._seen[key] = await self._claims.whose(kind, held)
        return self._seen[key]

    async def _talks(self, kind: Kind, path_name: str, field: str) -> list[Offer]:
        path = self._client.path(path_name, project=self._settings.project)
        found: dict[str, Held] = {}
        for status in (kind.waits, IN_PROGRESS):
            said = await self._client.pages(path, field, status=status)
            if not isinstance(said, list):
                self._notice(f"Sego {_answers(said)} at {clean(path)}: its {_WHAT[kind.path]}s are not looked at")
                return []
            read = self._read(kind.shape, said, _WHAT[kind.path])
            found |= {h.id: h for h in read if h.status in {kind.waits, IN_PROGRESS}}
        offers = [await self._talk(kind, held) for held in found.values()]
        return [o for o in offers if o is not None]

    async def _talk(self, kind: Kind, held: Held) -> Offer | None:
        message = ""
        if isinstance(held, Conversation):
            if held.last_message_id is None:
                return None
            message = held.last_message_id
            id_ = self._named(Ref(kind, held.id, message), "conversation", held.id, message)
        else:
            id_ = self._named(Ref(kind, held.id), "request", held.id)
        whose = await self._claims.whose(kind, held)
        why = self.left(id_, held) if isinstance(whose, Free) else taken(whose)
        self._seen_waiting(id_, whose)
        return Offer(id_, title_of(held), held.created, lane=Lane.TALK, why_not=why)

    def _seen_waiting(self, id_: str, whose: Whose) -> None:
        (self.waits.add if isinstance(whose, Free) else self.waits.discard)(id_)

    def _named(self, ref: Ref, *parts: str) -> str:
        id_ = job_id(*parts)
        self.refs[id_] = ref
        return id_

    def _read(self, shape: type[S], said: Sequence[Any], what: str) -> list[S]:
        """Return what can be read of a list. One item that cannot costs the others nothing."""
        found = []
        for each in said:
            try:
                found.append(shape.model_validate(each))
            except ValidationError as error:
                id_ = clean(str(each.get("id", "without an id"))) if isinstance(each, dict) else "without an id"
                self._notice(f"Sego's {what} {id_} cannot be read and is left out: {misfit(error)}")
        return found


def _answers(said: Missing | Declined) -> str:
    return f"answers {said.status} ({said.why})" if isinstance(said, Declined) else "has nothing"


def taken(whose: Whose) -> str:
    """Return why what somebody has is not taken, "" where it is ours."""
    match whose:
        case Ours() | Free():
            return ""
        case Others(by=by):
            return f"it is {IN_PROGRESS}, {by or 'somebody whom Sego does not name'} has it"
        case Over(why=why):
            return why
