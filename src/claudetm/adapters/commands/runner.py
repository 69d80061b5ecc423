"""Runs other people's commands: no credential in reach, contained as the agent is, bounded in time and output."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

import anyio

from claudetm.adapters.agent.containment import Containment, View, sweep
from claudetm.adapters.agent.environment import MARKER, SESSION_MARKER, command_environment
from claudetm.adapters.agent.scratch import scratch
from claudetm.ports.commands import CommandRequest, CommandResult

_TAIL: Final = 64 * 1024  # bytes of output in a result
_LOG: Final = 50 * 1024 * 1024  # bytes of output in a log
_CHUNK: Final = 64 * 1024
_PIPE_PATIENCE: Final = 5.0  # seconds for the output to end once the command has
_NOT_THERE: Final = 127  # the shell's code for a command that could not be started


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """What holds for all commands of a run.

    `home` is their private home, kept, so that caches of tools last. `readable` are folders below the user's home
    or /tmp that they need to see under bubblewrap; `pass_through` names variables that the user lets through.
    """

    run: str
    home: Path
    containment: Containment
    readable: Sequence[Path] = ()
    pass_through: Sequence[str] = ()


class CommandRunner:
    """The Commands port on real processes. One object serves all commands of a run, side by side."""

    def __init__(self, settings: RunnerSettings, parent: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._parent = os.environ if parent is None else parent

    async def run(self, request: CommandRequest, stop: asyncio.Event | None = None) -> CommandResult:
        """Run the command to its end, its time limit, or `stop`; nothing it started outlives the call."""
        began = time.monotonic()
        with _Output(request.log) as output:
            if not request.cwd.is_dir():
                output.take(f"{request.cwd} is not there.\n".encode())
                return output.result(_NOT_THERE, began)
            if stop is not None and stop.is_set():
                return output.result(None, began, stopped=True)
            with self._launcher(request) as (launcher, marks):
                ended = await _bounded([str(launcher), "-c", request.command], marks, request, stop, output)
            return output.result(ended.code, began, timed_out=ended.timed_out, stopped=ended.stopped)

    @contextlib.contextmanager
    def _launcher(self, request: CommandRequest) -> Iterator[tuple[Path, dict[str, str]]]:
        s = self._settings
        s.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with scratch(s.run) as name:
            marks = {MARKER: s.run, SESSION_MARKER: str(uuid.uuid4())}
            environment = {
                **command_environment(
                    self._parent,
                    run=s.run,
                    session=marks[SESSION_MARKER],
                    home=s.home,
                    tmp=Path(name),
                    also=s.pass_through,
                ),
                **request.environment,
            }
            view = View(request.cwd, s.readable, (s.home, Path(name), request.cwd, *request.writable))
            with s.containment.launcher(["/bin/sh"], environment, view) as launcher:
                yield launcher, marks


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int | None
    timed_out: bool = False
    stopped: bool = False


async def _bounded(
    argv: Sequence[str],
    marks: Mapping[str, str],
    request: CommandRequest,
    stop: asyncio.Event | None,
    output: _Output,
) -> _Ended:
    with _Process(argv, marks, request.cwd, output.take) as process:
        exiting = asyncio.create_task(process.exited.wait())
        stopping = asyncio.create_task((stop or asyncio.Event()).wait())
        try:
            await asyncio.wait({exiting, stopping}, timeout=request.timeout, return_when=asyncio.FIRST_COMPLETED)
            if process.exited.is_set():
                return _Ended(process.code)
            return _Ended(None, timed_out=not stopping.done(), stopped=stopping.done())
        finally:
            exiting.cancel()
            stopping.cancel()
            with anyio.CancelScope(shield=True):
                await process.finish(marks[SESSION_MARKER])


class _Process:
    """A command at work: its output handed on as it comes, its end an event.

    asyncio's own subprocesses will not do. A task cancelled while one is being made, as at the end of asyncio.run,
    waits for ever (seen with CPython 3.11), and their wait() waits for the output's end too.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], cwd: Path, take: Callable[[bytes], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._take = take
        self.exited = asyncio.Event()
        self._drained = asyncio.Event()
        self._out, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._out)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(self._out, False)
        self._loop.add_reader(self._out, self._read)
        threading.Thread(target=self._wait, name=f"wait for {self._process.pid}", daemon=True).start()

    @property
    def code(self) -> int | None:
        """The exit code, once it has one; negative for a signal."""
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._out)
        os.close(self._out)

    def _read(self) -> None:
        data = os.read(self._out, _CHUNK)
        if data:
            self._take(data)
        else:
            self._loop.remove_reader(self._out)
            self._drained.set()

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            self._loop.call_soon_threadsafe(self.exited.set)

    async def finish(self, session: str) -> None:
        """End the command and all it started. The reaper, or bubblewrap, takes the rest with it."""
        if not self.exited.is_set():
            self._process.terminate()
        await sweep(session=session)
        await self.exited.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PIPE_PATIENCE):
                await self._drained.wait()


class _Output:
    """What a command wrote: hashed whole, logged to a bound, its tail kept."""

    def __init__(self, log: Path | None) -> None:
        self._log = log
        self._file: IO[bytes] | None = None
        self._hash = hashlib.sha256()
        self._tail = bytearray()
        self._size = 0

    def __enter__(self) -> Self:
        if self._log is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def take(self, data: bytes) -> None:
        """Take one piece in."""
        self._hash.update(data)
        if self._file is not None and self._size < _LOG:
            self._file.write(data[: _LOG - self._size])
            if self._size + len(data) >= _LOG:
                self._file.write(b"\n[the log ends here: 50 MiB]\n")
        self._size += len(data)
        self._tail += data
        del self._tail[:-_TAIL]

    def result(self, code: int | None, began: float, **how: Any) -> CommandResult:
        """Return what came of it."""
        text = self._tail.decode(errors="replace")
        return CommandResult(code, text, self._hash.hexdigest(), time.monotonic() - began, log=self._log, **how)
