"""Runs the project's checks on a head merged into a base, in the background, in a throw-away checkout.

What is recorded is done; what was running when the driver died is simply due again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from claudetm.adapters.forge.local_journal import CheckResult, ForgeJournal, PullRecord
from claudetm.adapters.git.run_repository import RunRepository
from claudetm.ports.commands import CommandRequest, CommandResult, Commands
from claudetm.ports.repository import Conflicted
from claudetm.workflow.pull_request import Check, CheckState

SETUP: Final = "setup"
_NAME_LENGTH: Final = 80


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
        self._running: dict[int, _Running] = {}
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
        if not running and not self._complete(results):
            running, results = self._start(pull, head, base), {}
        if running:
            tested = running.base
            results = {n: r for n, r in results.items() if r.base == tested}
        return tested, self._told(results)

    def _recorded(self, pull: PullRecord, head: str) -> tuple[str, dict[str, CheckResult]]:
        """Return the newest base for which the head has results, and those, by name."""
        results = [r for r in pull.results.get(head, ()) if r.commands == self._settings.key]
        base = results[-1].base if results else ""
        return base, {r.name: r for r in results if r.base == base}

    def _complete(self, results: dict[str, CheckResult]) -> bool:
        return SETUP in results or self._settings.named.keys() <= results.keys()

    def _told(self, results: dict[str, CheckResult]) -> tuple[Check, ...]:
        if SETUP in results:
            return (_check(SETUP, results[SETUP]),)
        return tuple(_check(name, results.get(name)) for name in self._settings.named)

    def _start(self, pull: PullRecord, head: str, base: str) -> _Running:
        stop = asyncio.Event()
        task = asyncio.create_task(self._run(pull, head, base, stop), name=f"checks of #{pull.number}")
        self._running[pull.number] = _Running(head, base, task, stop)
        return self._running[pull.number]

    async def _run(self, pull: PullRecord, head: str, base: str, stop: asyncio.Event) -> None:
        try:
            async with self._slots:
                merged = await self._repository.merge(base, head, f"Test {pull.change}")
                if stop.is_set() or isinstance(merged, Conflicted):
                    return
                async with self._repository.checkout(merged.commit) as folder:
                    await self._run_all(pull, head, base, folder, stop)
        finally:
            self._wake()

    async def _run_all(self, pull: PullRecord, head: str, base: str, folder: Path, stop: asyncio.Event) -> None:
        """Run set-up, then every check, also after one that failed: a fix round should see them all."""
        steps = [(SETUP, c) for c in self._settings.setup] + list(self._settings.named.items())
        for name, command in steps:
            log = self._settings.logs / f"{pull.change}-{head[:10]}-{base[:10]}-{_slug(name)}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            result = await self._commands.run(CommandRequest(command, folder, self._settings.timeout, log), stop)
            if result.stopped or stop.is_set():
                return
            if name != SETUP or not result.ok:
                told = CheckResult(name, base, self._settings.key, result.ok, _summary(result), str(log))
                self._journal.checked(pull.number, head, told)
                self._wake()
            if name == SETUP and not result.ok:
                return

    async def end(self, number: int) -> None:
        """Stop the running checks of a pull request; raise what went wrong with them, if anything did."""
        if running := self._running.pop(number, None):
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
    if result.timed_out:
        return f"ended after {result.seconds:.0f} seconds: the time limit"
    last = next((line.strip() for line in reversed(result.output.splitlines()) if line.strip()), "")
    return f"exit code {result.exit_code}" + (f": {last[:200]}" if last and not result.ok else "")


def _slug(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return "".join(c if c.isalnum() else "-" for c in name)[:32].strip("-") + f"-{digest}"
