"""Completion in the shell through the real entry point: commands, options, values, and nothing heavy on the way."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.cli.app import COMMANDS
from claudetm.cli.driving import LEVELS
from claudetm.config import FORGES, KEYS, TIERS
from terminal import CLAUDETM, Terminal, terminal
from world import World

pytestmark = pytest.mark.e2e

HEAVY = ("claude_agent_sdk", "pydantic", "asyncio", "github", "git", "fastapi", "rich.console")


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


@pytest.fixture
def at_work(person: Terminal) -> Terminal:
    """A run of two changes, the first of which has a pull request."""
    world = World()
    asyncio.run(world.drive())
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(map(encode, world.records)))
    (state.logs / "session-0123-abcd.jsonl").touch()
    person.git("update-ref", "refs/claudetm/r1/snapshots/c1-1", "HEAD")
    return person


def offered(person: Terminal, line: str, shell: str = "bash", **extra: Any) -> list[str]:
    """Return what is offered at the end of a command line."""
    words = line.split(" ")
    asked: dict[str, Any] = {
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
    }
    ended = person(_CLAUDETM_COMPLETE=f"complete_{shell}", **asked, **extra)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return [line for line in ended.stdout.splitlines() if line]


def test_every_command_and_the_options_of_one_are_offered(person: Terminal) -> None:
    assert offered(person, "claudetm ") == list(COMMANDS)
    assert offered(person, "claudetm st") == ["start", "stop", "status"]
    assert set(offered(person, "claudetm start --no-")) >= {"--no-checks", "--no-auto-merge", "--no-verify"}
    assert offered(person, "claudetm plan ed") == ["edit"]
    assert offered(person, "claudetm review app") == ["approve"]
    assert "--show-completion" in offered(person, "claudetm --")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("claudetm start --model ", list(TIERS)),
        ("claudetm resume -m so", ["sonnet"]),
        ("claudetm start --forge ", list(FORGES)),
        ("claudetm start --sandbox o", ["on", "off"]),
        ("claudetm start --log-level ", list(LEVELS)),
        ("claudetm resume --log-format ", ["text", "json"]),
        ("claudetm start --base ", ["main"]),
        ("claudetm config ", ["show", "get", "set", "path"]),
        ("claudetm config get checks.", [k for k in KEYS if k.startswith("checks.")]),
        ("claudetm logs --session ", ["0123-abcd"]),
        ("claudetm undo ", ["c1-1"]),
        ("claudetm pr ", ["1"]),
        ("claudetm review show ", ["1"]),
        ("claudetm explain c1.", ["c1.t1", "c1.t2"]),
    ],
)
def test_values_are_offered(at_work: Terminal, line: str, values: list[str]) -> None:
    assert offered(at_work, line) == values


def test_a_scenario_that_ships_is_offered(person: Terminal) -> None:
    assert "demo" in offered(person, "claudetm start Greet --rehearse ")


def test_where_nothing_can_be_known_nothing_is_offered_and_nothing_said(person: Terminal) -> None:
    for line in ("claudetm pr ", "claudetm logs --session ", "claudetm explain "):
        assert offered(person, line) == [], line
    person.state.mkdir()
    (person.state / "journal.jsonl").write_text("planted\n")
    assert offered(person, "claudetm pr ") == []
    assert offered(person, "claudetm undo ", PATH="/nonexistent") == []


def test_zsh_and_fish_are_answered_in_their_words(person: Terminal) -> None:
    assert offered(person, "claudetm unpause", "zsh") == ["_files"]
    [zsh] = offered(person, "claudetm undo --br", "zsh")
    assert zsh.startswith("""_arguments '*: :(("--branch":"The branch to make of it""")
    fish = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    [described] = offered(person, "claudetm prog", "fish", **fish)
    assert described.startswith("progress\tShow what has been done")
    for line, code in (("claudetm prog", 0), ("claudetm unpause", 1)):
        asked: dict[str, Any] = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "is-args"}
        assert person(_CLAUDETM_COMPLETE="complete_fish", **asked).returncode == code


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_with_what_is_installed(person: Terminal) -> None:
    script = (
        f"{CLAUDETM} --install-completion || exit; source ~/.bashrc || exit; "
        "COMP_WORDS=(claudetm pro); COMP_CWORD=1; "
        f'_claudetm_completion {CLAUDETM}; printf "%s\\n" "${{COMPREPLY[@]}}"; '
        f"{CLAUDETM} --show-completion; true"
    )
    ended = subprocess.run(
        ["bash", "-c", script], env=person.environment, capture_output=True, text=True, check=True, cwd=person.here
    )
    lines = ended.stdout.splitlines()
    assert lines[0] == f"bash completion installed in {person.home}/.bash_completions/claudetm.sh"
    assert "progress" in lines
    assert lines[-1] == "complete -o default -F _claudetm_completion claudetm"


def test_nothing_heavy_is_loaded_for_it(at_work: Terminal) -> None:
    for words in ("claudetm ", "claudetm start --model ", "claudetm pr "):
        script = (
            "import sys\nfrom claudetm.cli.app import run\nsys.argv = ['claudetm']\n"
            "try: run()\nfinally: print([m for m in sys.argv[1:] or HEAVY if m in sys.modules], file=sys.stderr)"
        ).replace("HEAVY", repr(HEAVY))
        asked = {"_CLAUDETM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        ended = subprocess.run(
            [sys.executable, "-c", script],
            env={**at_work.environment, **asked},
            capture_output=True,
            text=True,
            check=True,
            cwd=at_work.here,
        )
        assert ended.stdout
        assert ended.stderr == "[]\n", words
