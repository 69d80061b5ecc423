"""What the wizard, `doctor` and `monitor sego` ask a Sego server.

What asks returns a named outcome, with its sentence where it is none to be glad of; httpx2 is loaded only then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from claudetm.bootstrap.clock import SystemClock
from claudetm.ports.source import SourceBusy, SourceRefused

if TYPE_CHECKING:
    from claudetm.adapters.sources.sego.client import Client
    from claudetm.adapters.sources.sego.shapes import Project
    from claudetm.bootstrap.monitor_settings import MonitorSettings

_PATIENCE = 10.0  # seconds for an answer that somebody waits for
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyAccepted:
    """The server takes the key; `who` is whose it is, "" where it does not say."""

    who: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The key is refused, what was asked for is not there, or it is no Sego: the sentence says which."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nothing can be said of it now: no connection, too many requests, an error of its own."""

    sentence: str


@dataclass(frozen=True, slots=True)
class ProjectSeen:
    """One project as the key sees it."""

    id: str
    name: str
    auto_task: bool
    threshold: float


@dataclass(frozen=True, slots=True)
class StreamOpens:
    """The stream of events answers as one."""


@dataclass(frozen=True, slots=True)
class NoStream:
    """There is no stream: tasks and requests are found by polling, later."""

    why: str


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask, and with which key; `paths` as in `monitor.sego.paths`. ConfigError for what cannot be asked."""

    address: str
    key: str = field(repr=False)
    paths: dict[str, str] = field(default_factory=dict)

    def check_key(self) -> KeyAccepted | Refused | Unreachable:
        """Ask whether the server takes the key."""
        return self._ask(_key)

    def projects(self) -> tuple[ProjectSeen, ...] | Refused | Unreachable:
        """Ask for the projects that the key sees."""
        return self._ask(_projects)

    def project(self, id_: str) -> ProjectSeen | Refused | Unreachable:
        """Ask for one project: whether auto-task is on there, and its threshold."""
        return self._ask(lambda client: _project(client, id_))

    def set_auto_task(
        self, id_: str, *, enabled: bool, threshold: float | None = None
    ) -> ProjectSeen | Refused | Unreachable:
        """Turn auto-task on or off in a project; without a threshold the one that is there stays."""
        return self._ask(lambda client: _set_auto_task(client, id_, enabled=enabled, threshold=threshold))

    def check_stream(self, project: str) -> StreamOpens | NoStream | Refused | Unreachable:
        """Ask whether a project's stream of events opens."""
        return self._ask(_stream, project)

    def _ask(self, question: Callable[[Client], Awaitable[T]], project: str = "") -> T | Refused | Unreachable:
        from claudetm.adapters.sources.sego.client import Client
        from claudetm.adapters.sources.sego.settings import SegoSettings, paths_of

        settings = SegoSettings(
            key=self.key,
            address=self.address,
            project=project,
            paths=paths_of(self.paths),
            answer_timeout=_PATIENCE,
            silence=_PATIENCE,
        )

        async def ask() -> T:
            client = Client(settings, SystemClock())
            try:
                return await question(client)
            finally:
                await client.close()

        try:
            return asyncio.run(ask())
        except SourceRefused as refused:
            return Refused(str(refused))
        except SourceBusy as busy:
            return Unreachable(str(busy))


async def _key(client: Client) -> KeyAccepted:
    from claudetm.adapters.sources.sego import refusals
    from claudetm.adapters.sources.sego.client import Answer

    answer = await client.get(client.path("key"))
    if isinstance(answer, Answer):
        said = answer.body if isinstance(answer.body, dict) else {}
        return KeyAccepted(refusals.clean(str(said.get("name") or "")))
    # Whose the key is may be asked nowhere; that tasks can be is public.
    path = client.path("tasks")
    client.whole(path, await client.get(path, limit="1"))
    return KeyAccepted()


async def _projects(client: Client) -> tuple[ProjectSeen, ...]:
    seen = await _listing(client).projects()
    return tuple(_seen(project) for project in seen.values())


async def _project(client: Client, id_: str) -> ProjectSeen:
    return _seen(await _listing(client).project(id_))


async def _set_auto_task(client: Client, id_: str, *, enabled: bool, threshold: float | None) -> ProjectSeen:
    from claudetm.adapters.sources.sego import refusals
    from claudetm.adapters.sources.sego.client import Answer, Conflict, Declined, Missing, refused

    body: dict[str, Any] = {"enabled": enabled}
    body |= {"threshold": threshold} if threshold is not None else {}
    path = client.path("auto_task", project=id_)
    match await client.patch(path, body):
        case Declined() as declined:
            raise refused(path, declined)
        case Missing() | Conflict():
            raise refusals.no_project(id_)
        case Answer():
            pass
    return await _project(client, id_)  # what is so now, not what was asked for


async def _stream(client: Client) -> StreamOpens | NoStream:
    import httpx2

    from claudetm.adapters.sources.sego.client import FORBIDDEN, Answer
    from claudetm.adapters.sources.sego.events import NO_STREAM

    path = client.path("events", project=client.settings.project)
    try:
        async with client.http.sse(client.url(path)) as source:
            status, kind = source.response.status_code, source.response.headers.get("content-type", "")
            if status in NO_STREAM:
                return NoStream(f"it answers {status} at {path}")
            if status == FORBIDDEN and isinstance(await client.get(client.path("tasks"), limit="1"), Answer):
                return NoStream(f"the key is not let at {path}")
            if not source.response.is_success:
                await client.refuse(source.response, path)
            return StreamOpens() if "text/event-stream" in kind else NoStream(f"it answers {kind or 'nothing'}")
    except httpx2.HTTPError as error:
        raise client.failure(error) from None


def _listing(client: Client) -> Any:
    from claudetm.adapters.sources.sego.claims import Claims
    from claudetm.adapters.sources.sego.listing import Listing

    def unheard(sentence: str) -> None:
        """Let what is left out of a list go: the wizard shows what is in it."""

    return Listing(client, Claims(client, unheard), unheard)


def _seen(project: Project) -> ProjectSeen:
    from claudetm.adapters.sources.sego.refusals import clean

    return ProjectSeen(project.id, clean(project.name), project.auto_task.enabled, project.auto_task.threshold)


def server_of(settings: MonitorSettings) -> Server:
    """Return the server that the monitor's settings name. Raises ConfigError without a key, or for a bad address."""
    from claudetm.adapters.sources.sego.settings import check_address, check_key, paths_of
    from claudetm.bootstrap.monitor_settings import refuse_unfit

    sego = replace(settings.sego, conversation_only=False)
    refuse_unfit(replace(settings, sources=("sego",), auto_push=False, sego=sego))
    check_key(settings.sego.api_key)
    paths_of(settings.sego.paths)
    return Server(check_address(settings.sego.api_url), settings.sego.api_key, dict(settings.sego.paths))
