"""A folder of tasks on the disk, the monitors at it, and what people do there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from unittest import SkipTest

from claudetm.adapters.sources.directory import DirectorySource
from claudetm.adapters.sources.task_document import render
from claudetm.adapters.sources.task_folder import DirectorySettings
from claudetm.bootstrap.clock import SystemClock
from claudetm.ports.source import Job, Result, Source, Status

QUIET = 0.02


class DirectoryWorld:
    name, lease, hints = "directory", 0.0, 10.0

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tasks, self.results = root / "tasks", root / "results"
        self.tasks.mkdir()
        self.results.mkdir()
        self.sources: dict[str, DirectorySource] = {}
        self.added = 0

    def source(self, monitor: str = "one") -> Source:
        if monitor not in self.sources:
            settings = DirectorySettings(self.tasks, self.results, self.root, owner=monitor, quiet=QUIET)
            self.sources[monitor] = DirectorySource(settings, SystemClock())
        return self.sources[monitor]

    async def die(self, monitor: str = "one") -> None:
        dead = self.sources.pop(monitor)
        for claim in dead._claims._held.values():
            os.close(claim.descriptor)  # as the kernel does
        if dead._watching is not None:
            dead._watching.stop()

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def add(self, text: str, title: str = "") -> str:
        self.added += 1
        id_ = f"task-{self.added * 7 % 10}-{self.added}"
        with (self.tasks / f"{id_}.md").open("w", encoding="utf-8", newline="") as file:
            file.write(render(text, {"title": title or "A task"}))
        looking = DirectorySource(
            DirectorySettings(self.tasks, self.results, self.root, owner="looking", quiet=QUIET), SystemClock()
        )
        while id_ not in [o.id for o in await looking.list() if not o.why_not]:  # noqa: ASYNC110 - a file's age
            await asyncio.sleep(0.01)
        return id_

    async def add_ineligible(self) -> str:
        (self.tasks / "task-odd.md").write_text("---\nmodle: opus\n---\nDo it", encoding="utf-8")
        await asyncio.sleep(2 * QUIET)
        return "task-odd"

    async def withdraw(self, job: str) -> None:
        (self.tasks / f"{job}.md").unlink()

    async def end(self, job: Job, result: Result) -> None:
        (self.results / f"{job.id}.json").write_text(json.dumps({"status": result.status}), encoding="utf-8")

    def text_of(self, job: Job) -> str:
        return job.text

    async def reported(self, job: str) -> Sequence[Status]:
        path = self.results / f"{job}.json"
        return [Status(json.loads(path.read_text(encoding="utf-8"))["status"])] if path.exists() else []

    async def busy(self, seconds: float) -> None:
        raise SkipTest(f"a folder is there, or it is not: there is none that cannot be asked for {seconds} seconds")

    async def refuse(self) -> None:
        shutil.rmtree(self.tasks)
        self.tasks.write_text("no folder")

    async def close(self) -> None:
        for monitor in list(self.sources):
            await self.die(monitor)
