"""The local forge's checks: how each ends, what runs again, what the base says by itself, and what a log tells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from claudetm.adapters.forge.local_checks import CheckSettings
from claudetm.ports.forge import CheckLog
from claudetm.testing.forge_conformance import opened, read
from claudetm.workflow.pull_request import CheckState, PullRequest
from integration.repositories import LocalForgeWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def checked(world: LocalForgeWorld, files: Mapping[str, str] | None = None) -> PullRequest:
    return await world.settled((await opened(world, files or {"a.txt": "a\n"})).number)


async def at_base(world: LocalForgeWorld, commit: str, *names: str) -> Mapping[str, CheckLog]:
    while (found := await world.forge.failing_at(commit, names)) is None:
        await world.forge.hint()
    return found


def ran(world: LocalForgeWorld) -> list[str]:
    return [r.command for r in world.commands.requests]


def once(flag: Path, otherwise: str = "false") -> str:
    """Return a command that fails the first time."""
    return f"test -e {flag} || {{ touch {flag}; {otherwise}; }}"


@pytest.mark.parametrize(
    ("command", "summary"),
    [
        ("echo no; exit 3", "exit code 3: no"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("sh -c 'kill -SEGV $$'; exit $?", "killed by SIGSEGV"),
        ("echo '1 failed'; echo 'make: *** [Makefile:2: test] Error 1'; exit 2", "exit code 2: 1 failed"),
        ("echo 'make: *** No rule to make target'; exit 2", "exit code 2: make: *** No rule"),
        ("no-such-tool-anywhere", "could not be started (exit code 127): "),
        ("echo token: Bearer abcdefghijkl; false", "exit code 1: token: Bearer [secret]"),
        ("printf '\\033[31mred\\033[0m\\n'; false", "exit code 1: red"),
    ],
)
async def test_how_a_check_ended_is_named(command: str, summary: str, tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, (command,))
    (check,) = (await checked(world)).checks
    assert check.state is CheckState.FAILED
    assert check.summary.startswith(summary)
    await world.close()


async def test_every_check_that_fails_is_told_together(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("echo one; false", "true", "echo two; exit 2"))
    pull = await checked(world)
    assert [c.summary for c in pull.checks] == ["exit code 1: one", "exit code 0", "exit code 2: two"]
    log = await world.forge.check_log(pull.number, "echo two; exit 2")
    assert (log.text, log.command, log.how) == ("two\n", "echo two; exit 2", "exit code 2")
    await world.close()


async def test_only_what_failed_is_judged_again_after_what_it_may_need(tmp_path: Path) -> None:
    flaky = once(tmp_path / "flag", "echo not yet; false")
    world = LocalForgeWorld(tmp_path, ("echo made > made", f"test -e made && {flaky}", "true"))
    pull = await checked(world)
    first = await world.forge.check_log(pull.number, pull.checks[1].name)
    before = ran(world)
    assert await world.forge.rerun_checks(pull.number, pull.head)
    again = await world.settled(pull.number)
    assert [c.state for c in again.checks] == [CheckState.PASSED] * 3
    assert ran(world)[len(before) :] == before[:2]
    assert Path(first.path).read_text() == "not yet\n"  # the failure's own log stays
    await world.close()


async def test_what_passed_once_on_a_commit_stays_passed_when_another_runs_again(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    world = LocalForgeWorld(tmp_path, (f"test ! -e {flag}", once(flag)))
    pull = await checked(world)
    assert [c.state for c in pull.checks] == [CheckState.PASSED, CheckState.FAILED]
    assert await world.forge.rerun_checks(pull.number, pull.head)
    assert {c.state for c in (await world.settled(pull.number)).checks} == {CheckState.PASSED}
    await world.close()


async def test_a_base_that_moved_has_everything_run_again(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("true", once(tmp_path / "flag")))
    pull = await checked(world)
    world.push_by_person("main", {"p.txt": "p\n"})
    await world.forge.base()
    before = ran(world)
    assert await world.forge.rerun_checks(pull.number, pull.head)
    again = await world.settled(pull.number)
    assert {c.state for c in again.checks} == {CheckState.PASSED}
    assert again.tested_base != pull.tested_base
    assert len(ran(world)) - len(before) == 2
    await world.close()


async def test_the_base_alone_says_what_fails_there_and_is_asked_once(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("test ! -e red || { echo it is red; false; }", "test ! -e a.txt"))
    world.push_by_person("main", {"red": "r\n"})
    pull = await checked(world)
    names = [c.name for c in pull.checks if c.state is CheckState.FAILED]
    assert len(names) == 2
    found = await at_base(world, pull.tested_base, *names)
    assert {n: (log.text, log.how) for n, log in found.items()} == {names[0]: ("it is red\n", "exit code 1")}
    before = ran(world)
    world.driver()
    assert await at_base(world, pull.tested_base, *names) == found  # from the records, by the next driver
    assert ran(world) == before
    await world.close()


async def test_a_set_up_that_fails_on_the_base_too_is_known(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("true",), ("echo no network; exit 7",))
    pull = await checked(world)
    assert [c.name for c in pull.checks] == ["setup"]
    found = await at_base(world, pull.tested_base, "setup")
    assert (found["setup"].text, found["setup"].how) == ("no network\n", "exit code 7")
    assert found["setup"].command == "echo no network; exit 7"
    await world.close()


async def test_a_set_up_that_works_on_the_base_is_known_without_a_check(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("true",), ("true # first", "test ! -e a.txt"))
    pull = await checked(world)
    assert [c.name for c in pull.checks] == ["setup"]
    before = ran(world)
    assert await at_base(world, pull.tested_base, "setup") == {}
    assert ran(world)[len(before) :] == ["true # first", "test ! -e a.txt"]
    await world.close()


async def test_two_bases_that_are_asked_about_in_turn_both_become_known(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("echo it is red; false",))
    one = await checked(world)
    name = one.checks[0].name
    world.push_by_person("main", {"p.txt": "p\n"})
    two = await world.forge.base()
    assert two != one.tested_base
    before = ran(world)
    while None in (found := [await world.forge.failing_at(c, [name]) for c in (one.tested_base, two)]):
        assert len(ran(world)) - len(before) <= 2  # a check that was ended is run anew
        await world.forge.hint()
    assert [list(f or ()) for f in found] == [[name], [name]]
    assert len(ran(world)) - len(before) == 2
    await world.close()


async def test_what_is_known_of_a_base_is_told_while_another_is_tested(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("test ! -e p.txt || sleep 60; false",))
    one = await checked(world)
    name = one.checks[0].name
    known = await at_base(world, one.tested_base, name)
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    await world.forge.base()
    world.commands.began.clear()
    assert await world.forge.failing_at(theirs, [name]) is None
    await world.commands.began.wait()
    before = ran(world)
    assert await world.forge.failing_at(one.tested_base, [name]) == known
    assert await world.forge.failing_at(theirs, [name]) is None
    assert ran(world) == before
    await world.close()


async def test_a_set_up_that_fails_at_the_base_is_told_whatever_was_asked(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("false",), setup=("test -e a.txt || { echo no a.txt; false; }",))
    pull = await checked(world)
    assert [c.name for c in pull.checks] == ["false"]
    found = await at_base(world, pull.tested_base, "false")
    assert {n: log.text for n, log in found.items()} == {"setup": "no a.txt\n"}
    await world.close()


async def test_a_set_up_that_passes_at_the_base_says_nothing_of_the_checks(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("echo it is red; false",), setup=("true",))
    pull = await checked(world)
    assert await at_base(world, pull.tested_base, "setup") == {}
    assert list(await at_base(world, pull.tested_base, pull.checks[0].name)) == [pull.checks[0].name]
    await world.close()


async def test_checks_that_are_no_longer_configured_are_not_run_on_the_base(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("false",))
    pull = await checked(world)
    world.settings = CheckSettings(("true",), world.state / "logs")
    world.driver()
    assert await world.forge.failing_at(pull.tested_base, ["false", "setup"]) == {}
    await world.close()


async def test_a_stop_ends_the_checks_of_the_base_and_records_nothing(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("test ! -e a.txt && sleep 60",))
    pull = await checked(world)
    world.commands.began.clear()
    assert await world.forge.failing_at(pull.tested_base, [pull.checks[0].name]) is None
    await world.commands.began.wait()
    await world.forge.close()
    world.driver()
    world.journal.refresh()
    assert world.journal.at == {}
    assert (await read(world, pull.number)).checks == pull.checks
    await world.close()


async def test_of_a_long_log_both_ends_are_read(tmp_path: Path) -> None:
    noise = "awk 'BEGIN { for (i = 0; i < 60000; i++) print \"line\", i }'"
    world = LocalForgeWorld(tmp_path, (f"echo begun; {noise}; echo ended; false",))
    pull = await checked(world)
    text = (await world.forge.check_log(pull.number, pull.checks[0].name)).text
    assert text.startswith("begun\nline 0\n")
    assert text.endswith("line 59999\nended\n")
    assert "bytes are left out here" in text
    assert len(text) < 300_000
    await world.close()
