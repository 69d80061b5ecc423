"""Holds conversations through claude-agent-sdk and its CLI: gated, contained, bounded in turns, cost and time.

However a conversation ends, its processes are gone and its transcript is written before `converse` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import anyio
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, HookMatcher, Message, ResultMessage
from claude_agent_sdk.types import EffortLevel, StreamEvent

from claudetm.adapters.agent import transcript as transcripts
from claudetm.adapters.agent.cli import find_cli
from claudetm.adapters.agent.containment import Containment, View, sweep
from claudetm.adapters.agent.environment import agent_environment
from claudetm.adapters.agent.gate import ANSWER, Bounds, Gate, tools
from claudetm.adapters.agent.messages import Ending, Reading, describe, one_line
from claudetm.adapters.agent.scratch import clear, scratch
from claudetm.adapters.agent.transcript import Transcript
from claudetm.ports.agent import JUDGES, WRITERS, Progress, SessionReport, SessionRequest
from claudetm.redact import MASK, redact, secrets_of
from claudetm.workflow.outcomes import Outcome, Usage

_BUFFER: Final = 32 * 1024 * 1024  # bytes of one message; a large tool output is one
_INTERRUPT: Final = 5.0  # seconds for the CLI to take note
_RESULT: Final = 10.0  # seconds for its result afterwards
_DISCONNECT: Final = 30.0
_LONGEST_COMMAND: Final = 600.0  # the CLI's own bound on one Bash call
_A_KEY: Final = 16  # characters
_USUAL_COMMAND: Final = 120_000  # ms; the CLI's own default
_GUARDED: Final = (
    "settings.json",
    "settings.local.json",
    "CLAUDE.md",
    "agents",
    "commands",
    "hooks",
    "plugins",
    "skills",
)
"""What the user's own sessions would run or obey, in the CLI's folder."""
_SETTINGS: Final = json.dumps({"attribution": {"commit": "", "pr": ""}})


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What holds for all sessions of a run.

    `home` is the agent's private home, kept for the run, so that its sessions can be resumed. `workspace` is the
    run's folder, readable by all roles; `writable` is what writers need beside their worktree (the clone's git
    folder). `environment` is laid over the allow-list; `pass_through` names variables that the user lets through.
    `identity` is the name and address on the agent's commits. `cli` replaces the SDK's bundled one.
    """

    home: Path
    logs: Path
    containment: Containment
    identity: tuple[str, str] = ("", "")
    workspace: Path | None = None
    writable: Sequence[Path] = ()
    readable: Sequence[Path] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pass_through: Sequence[str] = ()
    trust_project_settings: bool = False
    cli: Path | None = None
    start_seconds: float = 60.0


class ClaudeAgent:
    """The Agent port on the real thing. One object serves all sessions of a run, side by side."""

    def __init__(self, settings: AgentSettings, parent: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._parent = os.environ if parent is None else parent

    async def converse(
        self, request: SessionRequest, progress: Callable[[Progress], None], stop: asyncio.Event
    ) -> SessionReport:
        """Hold one conversation to its end, a limit, or `stop`. Never raises for how a session ends.

        What the request's objection raises comes out of here, once the session is over.
        """
        if request.max_cost_usd <= 0:
            return SessionReport(Outcome.BUDGET_LIMIT, detail="No budget is left.")
        logs = self._settings.logs
        before = transcripts.reported(logs, request.resume) if request.resume else Usage()
        secrets = secrets_of({**self._parent, **self._settings.environment})
        transcript = Transcript(logs, request.id, secrets)
        try:
            report = await self._started_twice(request, _Tap(request.id, transcript, progress, before), stop)
        finally:
            transcript.close()
        report = _redacted(report, secrets)  # what an agent says is journalled
        return dataclasses.replace(report, transcript=f"{transcript.path.parent.name}/{transcript.path.name}")

    async def sweep(self, run: str) -> int:
        """End what sessions of this run left behind, and remove its folders; return how many processes there were."""
        folders = [f for f in (self._settings.home, self._settings.workspace) if f is not None]
        ended = await sweep(run, folders=folders)
        await asyncio.to_thread(clear, run)
        return ended

    async def charge(self, session: str) -> Usage | None:
        """Return what the transcript of a session whose driver died shows that it used, or None."""
        return transcripts.charge(self._settings.logs, session)

    async def _started_twice(self, request: SessionRequest, tap: _Tap, stop: asyncio.Event) -> SessionReport:
        """Hold it, once more where the CLI did not come up: that helps, or nothing does."""
        report = await self._once(request, tap, stop)
        if report.outcome is Outcome.START_FAILED:
            report = await self._once(request, tap, stop)
        return report

    async def _once(self, request: SessionRequest, tap: _Tap, stop: asyncio.Event) -> SessionReport:
        tap.open(request)
        gate = Gate(self._bounds(request), request.objection)
        with self._options(request, gate, tap) as options:
            conversation = _Conversation(request, ClaudeSDKClient(options), tap, stop, self._settings.start_seconds)
            try:
                report = await conversation.hold()
            finally:
                with anyio.CancelScope(shield=True):
                    await sweep(session=request.id)
        if gate.failure is not None:
            raise gate.failure
        refused = dict.fromkeys([*gate.denied, *tap.reading.denied])  # each tool once
        return dataclasses.replace(report, denied=tuple(t for t in refused if t != ANSWER))

    def _bounds(self, request: SessionRequest) -> Bounds:
        s = self._settings
        readable = (*s.readable, s.home / ".claude" / "projects")
        return Bounds(request.role, request.cwd, readable, self._skill(request))

    def _skill(self, request: SessionRequest) -> str:
        """Return the project's skill that the session may use: none where the project is not trusted."""
        return request.skill if self._trusts(request) else ""

    def _trusts(self, request: SessionRequest) -> bool:
        """Whether the session goes by the project's settings: who judges sees them as the work has left them."""
        return self._settings.trust_project_settings and request.role not in JUDGES

    @contextlib.contextmanager
    def _options(self, request: SessionRequest, gate: Gate, tap: _Tap) -> Iterator[ClaudeAgentOptions]:
        s = self._settings
        s.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with scratch(request.run) as name:
            tmp = Path(name)
            system = tmp / "system.md"
            system.write_text(request.system, encoding="utf-8")
            environment = self._environment(request, tmp)
            with s.containment.launcher([str(self._cli())], environment, self._view(request, environment)) as cli:
                yield ClaudeAgentOptions(
                    cli_path=cli,
                    cwd=request.cwd,
                    setting_sources=["project"] if self._trusts(request) else [],
                    settings=_SETTINGS,
                    strict_mcp_config=not self._trusts(request),
                    verbatim_prompts=True,
                    system_prompt={"type": "file", "path": str(system)},
                    output_format={"type": "json_schema", "schema": dict(request.schema)},
                    tools=list(tools(request.role, self._skill(request))),
                    permission_mode="dontAsk",
                    hooks={"PreToolUse": [HookMatcher(hooks=[gate], on_failure="block")]},
                    max_turns=max(request.max_turns, 1),  # 0 would be without limit
                    max_budget_usd=request.max_cost_usd,
                    max_buffer_size=_BUFFER,
                    stderr=tap.grumble,
                    include_partial_messages=True,  # the idle timer sees a long answer grow, the charge its tokens
                    model=request.model or None,
                    effort=_effort(request.effort),
                    resume=request.resume or None,
                    session_id=None if request.resume else request.id,
                )

    def _environment(self, request: SessionRequest, tmp: Path) -> dict[str, str]:
        s = self._settings
        command = int(min(_LONGEST_COMMAND, request.idle_seconds * 0.8) * 1000)  # ms; a silent command is not idle
        return {
            **agent_environment(
                {**self._parent, **s.environment},
                run=request.run,
                session=request.id,
                home=s.home,
                tmp=tmp,
                identity=s.identity,
                also=s.pass_through,
            ),
            "BASH_MAX_TIMEOUT_MS": str(command),
            "BASH_DEFAULT_TIMEOUT_MS": str(min(command, _USUAL_COMMAND)),
            **({} if request.role in WRITERS else {"PYTEST_ADDOPTS": "-p no:cacheprovider"}),
            **s.environment,
        }

    def _view(self, request: SessionRequest, environment: Mapping[str, str]) -> View:
        s = self._settings
        config = Path(environment["CLAUDE_CONFIG_DIR"])
        config.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = [s.home, config, Path(environment["TMPDIR"])]
        if request.role in WRITERS:
            writable += [request.cwd, *s.writable]
        readable = [self._cli().parent, *s.readable, *([s.workspace] if s.workspace else [])]
        return View(request.cwd, readable, writable, [config / name for name in _GUARDED])

    def _cli(self) -> Path:
        return self._settings.cli or find_cli(self._parent.get("PATH"))


def _redacted(report: SessionReport, secrets: Sequence[str]) -> SessionReport:
    """Return the report without what the agent's own environment holds: it could have said it."""
    keys = [s for s in secrets if len(s) >= _A_KEY]  # what is shorter can be a word of the answer
    return dataclasses.replace(report, detail=redact(report.detail, secrets), answer=_without(report.answer, keys))


def _without(value: Any, keys: Sequence[str]) -> Any:
    match value:
        case str():
            return functools.reduce(lambda text, key: text.replace(key, MASK), keys, value)
        case Mapping():
            return {name: _without(v, keys) for name, v in value.items()}
        case list():
            return [_without(v, keys) for v in value]
        case _:
            return value


def _effort(level: str) -> EffortLevel | None:
    """Return the level as the SDK types it; the CLI judges it, and levels differ between models."""
    return cast("EffortLevel", level) if level else None


class _Tap:
    """Writes a session's messages down, and tells the screen."""

    def __init__(
        self, session: str, transcript: Transcript, progress: Callable[[Progress], None], before: Usage
    ) -> None:
        self._session = session
        self._transcript = transcript
        self._progress = progress
        self._before = before
        self.reading = Reading(before)
        self.complaint = ""
        """The last line of the CLI's stderr: the best there is to say when it does not come up."""

    def open(self, request: SessionRequest) -> None:
        """Begin a conversation."""
        self.reading = Reading(self._before)
        words = {"system": request.system, "prompt": request.prompt, "says": list(request.says)}
        self._transcript.write("Started", {"role": request.role, "model": request.model, "at": time.time(), **words})

    def grumble(self, line: str) -> None:
        """Take a line of the CLI's stderr."""
        self.complaint = line
        self._transcript.write("Stderr", {"text": line})

    def take(self, message: Message) -> None:
        """Take one message in."""
        call = self.reading.take(message)
        if not isinstance(message, StreamEvent):
            self._transcript.write(type(message).__name__, dataclasses.asdict(message))
        if call is not None:
            self._transcript.write("Used", {"call": call.id, "model": call.model, "tokens": call.tokens})
        if text := describe(message):
            self._progress(Progress(self._session, text, self.reading.usage))


class _Conversation:
    """One life of the CLI, from connect to disconnect.

    A pump moves messages into a queue, and the timers stand on the receiving side: cancelling the SDK's generator
    would lose the result.
    """

    def __init__(
        self, request: SessionRequest, client: ClaudeSDKClient, tap: _Tap, stop: asyncio.Event, start_seconds: float
    ) -> None:
        self._request = request
        self._client = client
        self._tap = tap
        self._stop = stop
        self._start_seconds = start_seconds
        self._messages: asyncio.Queue[Message | BaseException | None] = asyncio.Queue()

    async def hold(self) -> SessionReport:
        """Connect, ask, listen; disconnect whatever happens."""
        stopping = asyncio.create_task(self._stop.wait())
        try:
            if failed := await self._connect(stopping):
                return failed
            ending, error = await self._listen(stopping)
            return self._tap.reading.report(ending, error, time.time())
        finally:
            stopping.cancel()
            with anyio.move_on_after(_DISCONNECT, shield=True):
                if not self._tap.reading.finished:  # it would be waited for in vain
                    await sweep(session=self._request.id)
                await self._client.disconnect()

    async def _connect(self, stopping: asyncio.Task[Any]) -> SessionReport | None:
        """Start the CLI. It hangs now and then; killed, it lets go of the SDK."""
        connecting = asyncio.create_task(self._client.connect())
        try:
            await asyncio.wait(
                {connecting, stopping}, timeout=self._start_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            if not connecting.done():
                with anyio.CancelScope(shield=True):
                    await sweep(session=self._request.id)
                    await asyncio.wait({connecting})
        error = connecting.exception()
        if self._stop.is_set() and error is not None:
            return SessionReport(Outcome.INTERRUPTED, detail="Stopped before it began.")
        if error is not None:
            report = self._tap.reading.report(Ending.CLOSED, error, time.time())
            if report.outcome is Outcome.CRASHED:
                return SessionReport(Outcome.START_FAILED, detail=self._why_not_up(error))
            return report
        return None

    def _why_not_up(self, error: BaseException) -> str:
        return one_line(f"The CLI did not come up: {self._tap.complaint or error}")

    async def _listen(self, stopping: asyncio.Task[Any]) -> tuple[Ending, BaseException | None]:
        pump = asyncio.create_task(self._pump())
        try:
            try:
                await self._client.query(self._prompt())
            except Exception as error:  # noqa: BLE001 - the SDK raises bare exceptions; each is a way to end
                return await self._until_result(_RESULT) or (Ending.CLOSED, error)
            end = await self._until_end(stopping)
            if self._stop.is_set() and not self._tap.reading.finished:
                end = Ending.STOPPED, None  # also where the stop reached the CLI before us
            if end[0] is not Ending.CLOSED:
                await self._interrupt()
            return end
        finally:
            pump.cancel()
            await asyncio.wait({pump})

    async def _prompt(self) -> AsyncIterator[dict[str, Any]]:
        texts = [self._request.prompt, *self._request.says]
        content = [{"type": "text", "text": text} for text in texts]
        yield {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": None}

    async def _pump(self) -> None:
        try:
            async for message in self._client.receive_messages():
                self._messages.put_nowait(message)
            self._messages.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - the SDK raises bare exceptions; each is a way to end
            self._messages.put_nowait(error)

    async def _until_end(self, stopping: asyncio.Task[Any]) -> tuple[Ending, BaseException | None]:
        """Take messages until the result, a limit, or the stop."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._request.seconds
        while True:
            left = deadline - loop.time()
            message = await self._next(min(self._request.idle_seconds, left), stopping)
            match message:
                case Ending():
                    overtime = message is Ending.IDLE and left < self._request.idle_seconds
                    return (Ending.OVERTIME if overtime else message), None
                case None:
                    return Ending.CLOSED, None
                case BaseException():
                    return Ending.CLOSED, message
                case _:
                    self._tap.take(message)
            if self._tap.reading.login_refused:
                return Ending.LOGIN, None
            if isinstance(message, ResultMessage):
                return Ending.CLOSED, None

    async def _next(self, seconds: float, stopping: asyncio.Task[Any]) -> Message | BaseException | Ending | None:
        getting = asyncio.create_task(self._messages.get())
        try:
            await asyncio.wait({getting, stopping}, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            return Ending.STOPPED if stopping.done() else Ending.IDLE
        finally:
            getting.cancel()

    async def _interrupt(self) -> None:
        """Ask the CLI to stop, and wait for the result: it has the real cost."""
        with anyio.move_on_after(_INTERRUPT) as patience:
            try:
                await self._client.interrupt()
            except Exception:  # noqa: BLE001 - the SDK raises bare exceptions; a dead CLI needs no stopping
                return
        if not patience.cancelled_caught:
            await self._until_result(_RESULT)

    async def _until_result(self, seconds: float) -> tuple[Ending, BaseException | None] | None:
        with anyio.move_on_after(seconds):
            while not self._tap.reading.finished:
                match await self._messages.get():
                    case None:
                        return Ending.CLOSED, None
                    case BaseException() as error:
                        return Ending.CLOSED, error
                    case message:
                        self._tap.take(message)
            return Ending.CLOSED, None
        return None
