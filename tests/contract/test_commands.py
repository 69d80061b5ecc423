"""Every adapter of the Commands port passes its suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from claudetm.adapters.agent.containment import Containment, bubblewrap
from claudetm.adapters.commands.runner import CommandRunner, RunnerSettings
from claudetm.ports.commands import Commands
from claudetm.testing.commands_conformance import CommandsConformance
from claudetm.testing.memory import MemoryCommands


class TestMemoryCommands(CommandsConformance):
    def commands(self, folder: Path) -> Commands:  # noqa: ARG002 - the suite's
        return MemoryCommands(lambda request: int(request.command.removeprefix("exit ")))


class TestCommandRunnerUnderTheReaper(CommandsConformance):
    def commands(self, folder: Path) -> Commands:
        return CommandRunner(RunnerSettings("run", folder / "home", Containment()), os.environ)


@pytest.mark.skipif(not bubblewrap(), reason="bubblewrap does not work here")
class TestCommandRunnerUnderBubblewrap(CommandsConformance):
    def commands(self, folder: Path) -> Commands:
        return CommandRunner(RunnerSettings("run", folder / "home", Containment(bubblewrap())), os.environ)
