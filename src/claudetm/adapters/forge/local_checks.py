"""Runs the project's checks on a head merged into a base, in the background, in a throw-away checkout.

What failed can run once more, and at the base alone: so the flaky is told apart, and what the change has not caused.
What is recorded is done; what was running when the driver died is simply due again.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.forge.local_journal import CheckResult, ForgeJournal, PullRecord
from claudetm.adapters.git.run_repository import RunRepository
from claudetm.ports.commands import CommandRequest, CommandResult, Commands
from claudetm.ports.forge import SETUP
from claudetm.ports.repository import Conflicted
from claudetm.redact import printable, redact
from claudetm.workflow.pull_request import Check, CheckState

_NAME_LENGTH: Final = 80
_LINE_LENGTH: Final = 200
_PASSED_ON: Final = re.compile(r"g?make(\[\d+\])?: |npm (ERR!|error)|error Command failed|ELIFECYCLE", re.IGNORECASE)

Tell = Callable[[CheckResult], None]


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What the checks of a run are. Times in seconds; `logs` is the folder for their output."""

    commands: Sequence[str]
    logs: Path
    setup: Sequence[str] = ()
    timeout: float = 1800.0
    parallel: int = 2  # pull requests whose checks run at one time

    @property
    def key(self) -> str:
        """A name for these commands: results of other ones do not count."""
        text = json.dumps([list(self.setup), list(self.commands)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def named(self) -> dict[str, str]:
        """The commands by the names that their checks go by."""
        return {c.strip().splitlines()[0][:_NAME_LENGTH]: c for c in self.commands if c.strip()}


@dataclass(slots=True)
class _Running:
    head: str
    base: str
    task: asyncio.Task[None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class LocalChecks:
    """The checks of one run's pull requests."""

    def __init__(
        self,
        repository: RunRepository,
        commands: Commands,
        settings: CheckSettings,
        journal: ForgeJournal,
        wake: Callable[[], None],
    ) -> None:
        """Take what runs commands, what to run, where to record it, and whom to wake when a result is in."""
        self._repository = repository
        self._commands = commands
        self._settings = settings
        self._journal = journal
        self._wake = wake
        self._running: dict[int | str, _Running] = {}  # by pull request, or by the commit that is tested alone
        self._slots = asyncio.Semaphore(settings.parallel)

    async def read(self, pull: PullRecord, head: str, base: str) -> tuple[str, tuple[Check, ...]]:
        """Return the base that the head's checks ran with, and how they stand; start them when they are due."""
        if not self._settings.named:
            return base, ()
        running = self._running.get(pull.number)
        if running and (running.task.done() or running.head != head):
            await self.end(pull.number)
            running = self._running.get(pull.number)  # another read may have started them meanwhile
        tested, results = self._recorded(pull, head)
        if not running and not self._complete(results, self._settings.named):
            told = set(results) if tested == base else set()
            running = self._start(pull.number, head, base, partial(self._run, pull, head, base, told))
        if running:
            tested = running.base
            results = {n: r for n, r in results.items() if r.base == tested}
        return tested, self._told(results)

    def _recorded(self, pull: PullRecord, head: str) -> tuple[str, dict[str, CheckResult]]:
        """Return the newest base for which the head has results, and those, by name."""
        results = [r for r in pull.results.get(head, ()) if r.commands == self._settings.key]
        base = results[-1].base if results else ""
        return base, {r.name: r for r in results if r.base == base}

    async def at(self, commit: str, names: Collection[str]) -> Mapping[str, CheckResult] | None:
        """Return how checks come out at a commit by itself, None while they run; start them when they are due.

        A set-up that fails there is returned, asked for or not: of the others, nothing is known then. Commits do not
        end each other's: pull requests that were tested with different bases ask in turn.
        """
        known = [*([SETUP] if self._settings.setup else []), *self._settings.named]
        wanted = [name for name in known if name in names]
        if commit in self._running and self._running[commit].task.done():
            await self.end(commit)
        results = {r.name: r for r in self._journal.at.get(commit, ()) if r.commands == self._settings.key}
        if self._complete(results, wanted):
            broken = SETUP in results and not results[SETUP].ok
            return {name: result for name, result in results.items() if name in wanted or (broken and name == SETUP)}
        if commit not in self._running:
            self._start(commit, commit, commit, partial(self._run_at, commit, wanted))
        return None

    def _complete(self, results: Mapping[str, CheckResult], names: Collection[str]) -> bool:
        return set(names) <= results.keys() or (SETUP in results and not results[SETUP].ok)

    def _told(self, results: dict[str, CheckResult]) -> tuple[Check, ...]:
        if SETUP in results:
            return (_check(SETUP, results[SETUP]),)
        return tuple(_check(name, results.get(name)) for name in self._settings.named)

    def _start(
        self, key: int | str, head: str, base: str, run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]
    ) -> _Running:
        stop = asyncio.Event()
        task = asyncio.create_task(run(stop), name=f"checks of {key}")
        self._running[key] = _Running(head, base, task, stop)
        return self._running[key]

    async def _run(self, pull: PullRecord, head: str, base: str, told: Collection[str], stop: asyncio.Event) -> None:
        """Run what is not `told` yet of the head merged into the base."""
        due = [name for name in self._settings.named if name not in told]
        tell = partial(self._journal.checked, pull.number, head)
        try:
            async with self._slots:
                merged = await self._repository.merge(base, head, f"Test {pull.change}")
                if stop.is_set() or isinstance(merged, Conflicted):
                    return
                async with self._repository.checkout(merged.commit) as folder:
                    await self._run_all(folder, base, due, f"{pull.change}-{head[:10]}-{base[:10]}", tell, stop)
        finally:
            self._wake()

    async def _run_at(self, commit: str, due: Sequence[str], stop: asyncio.Event) -> None:
        try:
            async with self._slots, self._repository.checkout(commit) as folder:
                if not stop.is_set():
                    await self._run_all(folder, commit, due, f"base-{commit[:10]}", self._journal.checked_at, stop)
        finally:
            self._wake()

    async def _run_all(
        self, folder: Path, base: str, due: Collection[str], stem: str, tell: Tell, stop: asyncio.Event
    ) -> None:
        """Run set-up, then every check up to the last that is due, also after one that failed.

        A fix round should see all that fail; and a check may need what one before it has made.
        """
        for name, command in self._steps(due):
            log = self._free(f"{stem}-{_slug(name)}")
            result = await self._commands.run(CommandRequest(command, folder, self._settings.timeout, log), stop)
            if result.stopped or stop.is_set():
                return
            if name in due or (name == SETUP and not result.ok):
                how, key = result.how, self._settings.key
                tell(CheckResult(name, base, key, result.ok, _summary(result), str(log), command, how))
                self._wake()
            if name == SETUP and not result.ok:
                return

    def _steps(self, due: Collection[str]) -> list[tuple[str, str]]:
        named = list(self._settings.named.items())
        last = max((n for n, (name, _) in enumerate(named) if name in due), default=-1)
        return [*((SETUP, command) for command in self._settings.setup), *named[: last + 1]]

    def _free(self, name: str) -> Path:
        """Return a log that is not there yet: the one of a failure stays when the check runs again."""
        self._settings.logs.mkdir(parents=True, exist_ok=True)
        paths = (self._settings.logs / f"{name}{'' if n == 1 else f'-{n}'}.log" for n in itertools.count(1))
        return next(path for path in paths if not path.exists())

    async def end(self, key: int | str) -> None:
        """Stop the running checks of a pull request, or of a commit; raise what went wrong with them, if it did."""
        if running := self._running.pop(key, None):
            running.stop.set()
            await running.task

    async def close(self) -> None:
        """Stop everything."""
        for running in self._running.values():
            running.stop.set()
        await asyncio.gather(*(r.task for r in self._running.values()), return_exceptions=True)
        self._running.clear()


def _check(name: str, result: CheckResult | None) -> Check:
    if result is None:
        return Check(name, CheckState.PENDING)
    return Check(name, CheckState.PASSED if result.ok else CheckState.FAILED, summary=result.summary)


def _summary(result: CommandResult) -> str:
    """Return how it ended and, of a failure, its last word: not that of what only passes it on."""
    lines = [line.strip() for line in redact(printable(result.output)).splitlines() if line.strip()]
    own = [line for line in lines if not _PASSED_ON.match(line)]
    said = (own or lines or [""])[-1][:_LINE_LENGTH]
    return f"{result.how}: {said}" if said and not result.ok else result.how


def _slug(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return "".join(c if c.isalnum() else "-" for c in name)[:32].strip("-") + f"-{digest}"
