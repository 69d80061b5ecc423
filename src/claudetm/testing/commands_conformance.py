"""What every Commands adapter must do. A test class derives from the suite and says how to make one.

The commands are `exit 0` and `exit 3`; an adapter in memory answers them with those codes.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from claudetm.ports.commands import CommandRequest, CommandResult, Commands


class CommandsConformance:
    """The suite. `commands` is to be overridden."""

    def commands(self, folder: Path) -> Commands:
        """Return the adapter under test; `folder` is empty and its own."""
        raise NotImplementedError

    def run(self, folder: Path, command: str, *, stopped: bool = False) -> CommandResult:
        """Run one command in the folder."""

        async def main() -> CommandResult:
            stop = asyncio.Event()
            if stopped:
                stop.set()
            return await self.commands(folder).run(CommandRequest(command, folder), stop)

        return asyncio.run(main())

    def test_a_command_that_exits_0_is_ok(self, tmp_path: Path) -> None:
        """A command that exits 0 is ok."""
        result = self.run(tmp_path, "exit 0")
        assert (result.exit_code, result.ok) == (0, True)
        assert not result.timed_out
        assert not result.stopped

    def test_another_exit_code_is_handed_on(self, tmp_path: Path) -> None:
        """Another exit code is handed on."""
        result = self.run(tmp_path, "exit 3")
        assert (result.exit_code, result.ok) == (3, False)

    def test_the_hash_is_that_of_the_output(self, tmp_path: Path) -> None:
        """The hash is that of the output."""
        result = self.run(tmp_path, "exit 0")
        assert result.sha256 == hashlib.sha256(result.output.encode()).hexdigest()
        assert result.seconds >= 0

    def test_a_stop_leaves_no_exit_code(self, tmp_path: Path) -> None:
        """A stop leaves no exit code."""
        result = self.run(tmp_path, "exit 0", stopped=True)
        assert (result.exit_code, result.stopped, result.ok) == (None, True, False)

    def test_one_adapter_runs_commands_side_by_side(self, tmp_path: Path) -> None:
        """One adapter runs commands side by side."""

        async def main() -> list[CommandResult]:
            commands = self.commands(tmp_path)
            return await asyncio.gather(*(commands.run(CommandRequest(c, tmp_path)) for c in ("exit 0", "exit 3")))

        assert [r.exit_code for r in asyncio.run(main())] == [0, 3]
