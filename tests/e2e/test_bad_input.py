"""Bad input: one clear sentence, exit 1, and every byte on disk as before.

Each case goes through the real entry point. The table names what the sentence must say: the thing, and the remedy.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.adapters.store.lock import acquire
from claudetm.cli.app import COMMANDS
from claudetm.workflow.records import Record
from terminal import Terminal, bytes_of, terminal
from world import World

pytestmark = pytest.mark.e2e

START = ("start", "Greet strangers", "--rehearse", "demo")


def refused(person: Terminal, *arguments: str | bytes, said: bytes | None = None, **extra: str) -> str:
    """Run a command that must be refused; return its sentence. Nothing on disk may differ afterwards."""
    before = bytes_of(person.here, person.home)
    ended = person(*arguments, said=said, **extra)
    assert bytes_of(person.here, person.home) == before
    assert (ended.returncode, ended.stdout) == (1, ""), ended
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("claudetm: ")
    return lines[0]


# --- the command line ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What is typed, and what the sentence must hold."""

    name: str
    arguments: tuple[str | bytes, ...]
    says: tuple[str, ...]
    said: bytes | None = None


WORDS = (
    Case("empty goal", ("start", ""), ("goal is empty", "claudetm start")),
    Case("blank goal", ("start", " \n "), ("goal is empty", "claudetm start")),
    Case("goal of 100 KB", ("start", "x" * 100_000), ("longer than 64 KiB", "file")),
    Case("goal of 100 KB from standard input", ("start", "-"), ("longer than 64 KiB", "file"), b"x" * 100_000),
    Case("goal with NUL", ("start", "-"), ("NUL", "leave it out"), b"Greet\0strangers"),
    Case("goal that is no UTF-8", ("start", "-"), ("UTF-8", "goal"), b"Gr\xfc\xdf Gott"),
    Case("argument that is no UTF-8", ("start", b"Gr\xfc\xdf Gott"), ("UTF-8", "goal")),
    Case("goal from an empty standard input", ("start", "-"), ("goal is empty",), b""),
    Case("no goal", ("start",), ("goal", "start --help")),
    Case("two goals", ("start", "one", "two"), ("two", "--help")),
    Case("unknown model", (*START, "--model", "gpt-4"), ("gpt-4", "opus, sonnet, haiku")),
    Case("misspelt model", (*START, "--model", "sonet"), ("sonet", "did you mean sonnet?")),
    Case("model that looks like an option", (*START, "--model=-x"), ("model", "dash")),
    Case("unknown forge", (*START, "--forge", "gitlab"), ("gitlab", "auto, local, github")),
    Case("forge of a later version", (*START, "--forge", "github"), ("GitHub", "--forge local")),
    Case("unknown base", (*START, "--base", "nowhere"), ("no branch nowhere", "git branch")),
    Case("base that looks like an option", (*START, "--base=--upload-pack=x"), ("--upload-pack=x", "such as main")),
    Case("blank base", (*START, "--base", " "), ("cannot be a branch", "such as main")),
    Case("empty base", (*START, "--base", ""), ("cannot be a branch", "such as main")),
    Case("negative budget", (*START, "--max-cost", "-1"), ("limits.cost_usd", "above 0", "-1")),
    Case("budget of zero", (*START, "--max-cost", "0"), ("limits.cost_usd", "above 0")),
    Case("budget that is not a number", (*START, "--max-cost", "nan"), ("limits.cost_usd", "above 0")),
    Case("budget without end", (*START, "--max-cost", "inf"), ("limits.cost_usd", "above 0")),
    Case("budget in words", (*START, "--max-cost", "much"), ("--max-cost", "much", "--help")),
    Case("no sessions", (*START, "--max-sessions", "0"), ("limits.sessions", "at least 1")),
    Case("negative sessions", (*START, "-n", "-3"), ("limits.sessions", "at least 1")),
    Case("sessions that are not a number", (*START, "-n", "nan"), ("--max-sessions", "nan", "--help")),
    Case("no pull requests", (*START, "--max-prs", "0"), ("plan.max_prs", "at least 1")),
    Case("no turns", (*START, "--max-turns", "0"), ("limits.turns", "at least 1")),
    Case("no time", (*START, "--timeout", "0"), ("limits.session_minutes", "above 0", "30m")),
    Case("negative time", (*START, "--timeout", "-5m"), ("limits.session_minutes", "above 0", "30m")),
    Case("time that is not a number", (*START, "--timeout", "nan"), ("limits.session_minutes", "30m")),
    Case("unknown sandbox", (*START, "--sandbox", "maybe"), ("sandbox", "auto, on, off")),
    Case("empty criterion", (*START, "--criteria", ""), ("criterion is empty", "--criteria")),
    Case("blank criterion", (*START, "--criteria", "\n"), ("criterion is empty", "--criteria")),
    Case("criterion that is no UTF-8", (*START, "--criteria", b"\xff"), ("UTF-8", "criterion")),
    Case("empty check", (*START, "--check", ""), ("check is empty", "--check")),
    Case("check that is no UTF-8", (*START, "--check", b"\xff"), ("UTF-8", "check")),
    Case("unknown log level", (*START, "--log-level", "loud"), ("loud", "quiet, normal, verbose")),
    Case("unknown scenario", ("start", "Greet", "--rehearse", "nothing"), ("no scenario nothing", "demo")),
    Case("scenario that is not there", ("start", "Greet", "--rehearse", "no.yaml"), ("no.yaml", "demo")),
    Case("no credentials", ("start", "Greet strangers"), ("credentials", "claude", "ANTHROPIC_API_KEY")),
    Case("unknown command", ("strat", "Greet"), ("strat", "claudetm --help")),
    Case("unknown option", ("status", "--jsno"), ("--jsno", "claudetm")),
    Case("unknown option of claudetm", ("--verison",), ("--verison", "claudetm --help")),
    Case("option without its value", ("start", "Greet", "--base"), ("--base", "claudetm")),
    Case("argument where none belongs", ("pause", "now"), ("now", "claudetm")),
    Case("command that is no UTF-8", (b"\xff\xfe",), ("claudetm --help",)),
    Case("nothing to resume", ("resume",), ("nothing to resume", "claudetm start")),
    Case("resume with a wrong budget", ("resume", "--max-cost", "nan"), ("limits.cost_usd", "above 0")),
    Case("resume with a wrong log level", ("resume", "--log-level", "loud"), ("loud", "quiet, normal, verbose")),
    Case("nothing to pause", ("pause",), ("There is no run", "claudetm start")),
    Case("nothing to stop", ("stop",), ("There is no run", "claudetm start")),
    Case("nothing to cancel", ("stop", "--cancel"), ("There is no run", "claudetm start")),
    Case("no status", ("status",), ("There is no run", "claudetm start")),
    Case("no status as JSON", ("status", "--json"), ("There is no run", "claudetm start")),
    Case("resume with no pull requests", ("resume", "--max-prs", "0"), ("plan.max_prs", "at least 1")),
    Case("close without cancel", ("stop", "--close"), ("--close goes with --cancel",)),
    Case("no plan to edit", ("plan", "edit"), ("There is no run", "claudetm start")),
    Case("no plan to approve", ("plan", "approve"), ("There is no run", "claudetm start")),
    Case("rejected without a reason", ("plan", "reject"), ("why", "plan reject --help")),
    Case("no plan", ("plan",), ("There is no run", "claudetm start")),
    Case("no progress", ("progress",), ("There is no run", "claudetm start")),
    Case("no context", ("context",), ("There is no run", "claudetm start")),
    Case("no logs", ("logs",), ("There is no run", "claudetm start")),
    Case("no lines of logs", ("logs", "-n", "0"), ("--lines", "--help")),
    Case("nobody to tell", ("say", "Hello"), ("There is no run", "claudetm start")),
    Case("nothing to say", ("say", "  "), ("message is empty", "claudetm say")),
    Case("words that are no UTF-8", ("say", b"\xff"), ("UTF-8",)),
    Case("demo in a folder that is full", ("demo", "."), ("not empty", "not there yet")),
    Case("demo with a wrong log level", ("demo", "new", "--log-level", "loud"), ("loud", "quiet, normal, verbose")),
)


@pytest.mark.parametrize("case", WORDS, ids=lambda c: c.name)
def test_what_is_typed_wrongly_is_refused_in_one_sentence(case: Case, tmp_path: Path) -> None:
    sentence = refused(terminal(tmp_path), *case.arguments, said=case.said)
    assert [word for word in case.says if word not in sentence] == [], sentence


# --- the repository --------------------------------------------------------------------------------------------


def _no_commits(person: Terminal) -> None:
    person.git("init", "-q")


def _bare(person: Terminal) -> None:
    person.git("init", "-q", "--bare")


def _nothing(_person: Terminal) -> None:
    pass


REPOSITORIES: dict[str, tuple[Callable[[Terminal], None], tuple[str, ...]]] = {
    "not a repository": (_nothing, ("not in a git repository", "git init")),
    "no commits": (_no_commits, ("no commits", "make a first one")),
    "bare": (_bare, ("bare repository", "clone")),
}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_repository_that_cannot_be_worked_in_is_refused(name: str, tmp_path: Path) -> None:
    make, says = REPOSITORIES[name]
    person = terminal(tmp_path, repository=False)
    make(person)
    sentence = refused(person, *START)
    assert all(word in sentence for word in says), sentence


def test_a_detached_head_needs_a_base(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    person.git("checkout", "-q", "--detach")
    sentence = refused(person, *START)
    assert "on no branch" in sentence
    assert "--base" in sentence


def test_a_prompt_of_the_users_that_cannot_be_used_is_found_before_anything_begins(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    prompts = person.here / ".claude-task-master" / "prompts"
    prompts.mkdir(parents=True)
    (prompts / "worker.user.md.j2").write_text("{{ task\n")
    sentence = refused(person, *START)
    assert "worker.user.md.j2, line 1" in sentence


@pytest.mark.parametrize("command", [START, ("resume",)])
@pytest.mark.parametrize("planted", ["journal.jsonl", "prompts/worker.system.md.j2"])
def test_what_steers_a_run_does_not_come_with_a_clone(planted: str, command: tuple[str, ...], tmp_path: Path) -> None:
    person = terminal(tmp_path)
    file = person.here / ".claude-task-master" / planted
    file.parent.mkdir(parents=True)
    file.write_text("planted\n")
    person.git("add", "--force", ".claude-task-master")
    person.git("commit", "-q", "-m", "Plant")
    sentence = refused(person, *command)
    assert planted in sentence
    assert "git rm -r --cached" in sentence


@pytest.mark.parametrize("command", [("resume",), ("status",), ("pause",), ("logs",), ("say", "Hello")])
def test_outside_of_a_repository_nothing_can_be_looked_at(command: tuple[str, ...], tmp_path: Path) -> None:
    sentence = refused(terminal(tmp_path, repository=False), *command)
    assert "There is no run" in sentence or "not in a git repository" in sentence


def test_a_working_directory_that_was_removed_is_said_to_be(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    for command in (START, ("status",)):
        (tmp_path / "gone").mkdir()
        ended = person(*command, wrap=("sh", "-c", f'cd "{tmp_path}/gone" && rmdir ../gone; exec "$@"', "sh"))
        assert ended.returncode == 1, ended
        assert len(ended.stderr.splitlines()) == 1, ended
        assert "working directory" in ended.stderr


# --- the configuration -----------------------------------------------------------------------------------------

FILES = (
    ('{"chekcs": {"none": "pass"}}', ("chekcs.none", "did you mean checks.none?")),
    ('{"limits": {"sessions": -1}}', ("limits.sessions", "at least 1")),
    ('{"limits": {"cost_usd": NaN}}', ("limits.cost_usd", "above 0")),
    ('{"forge": "gitlab"}', ("forge", "auto, local, github")),
    ('{"forge": ', ("line 1", "column")),
    ("[]", ("object",)),
    ("\udcff", ("UTF-8",)),
    ('{"version": 2}', ("another version",)),
    ("[" * 100_000, ("JSON",)),
)


@pytest.mark.parametrize(("content", "says"), FILES, ids=lambda v: v[:20] if isinstance(v, str) else "")
@pytest.mark.parametrize("whose", ["repository", "user"])
def test_a_wrong_configuration_is_refused_with_its_file(
    content: str, says: tuple[str, ...], whose: str, tmp_path: Path
) -> None:
    person = terminal(tmp_path)
    folder = person.state if whose == "repository" else person.home / "config" / "claudetm"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(content.encode(errors="surrogateescape"))
    sentence = refused(person, *START)
    assert str(folder / "config.json") in sentence
    assert all(word in sentence for word in says), sentence


def test_a_slip_of_the_pen_in_the_environment_is_named(tmp_path: Path) -> None:
    sentence = refused(terminal(tmp_path), *START, CLAUDETM_LIMITS_SESSION="3")
    assert "did you mean CLAUDETM_LIMITS_SESSIONS?" in sentence


UNFIT = (
    ("WORKTREE_COPY", '["../x"]', ("worktree.copy", "'../x'", "inside the repository")),
    ("WORKTREE_COPY", '[".env", "/etc/passwd"]', ("worktree.copy", "'/etc/passwd'", "inside the repository")),
    ("WORKTREE_COPY", '[".git/config"]', ("worktree.copy", "'.git/config'", "inside the repository")),
    ("MERGE_METHOD", "rebase", ("local forge", "merge.method", "merge or squash")),
)


@pytest.mark.parametrize(("setting", "value", "says"), UNFIT)
def test_what_the_run_could_not_do_at_its_end_is_refused_before_it_begins(
    setting: str, value: str, says: tuple[str, ...], tmp_path: Path
) -> None:
    person = terminal(tmp_path)
    person.extra = {f"CLAUDETM_{setting}": value}
    sentence = refused(person, *START)
    assert [word for word in says if word not in sentence] == [], sentence


@pytest.mark.parametrize("flag", [("--sandbox", "on"), ()])
def test_a_sandbox_that_is_demanded_and_does_not_work_is_refused(flag: tuple[str, ...], tmp_path: Path) -> None:
    person = terminal(tmp_path)
    broken = person.home / "broken" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    person.extra = {"PATH": f"{broken.parent}:{person.environment['PATH']}"}
    if not flag:
        person.extra["CLAUDETM_SANDBOX"] = "on"
    sentence = refused(person, *START, *flag)
    assert "bubblewrap (bwrap) does not work here" in sentence
    assert "set sandbox to auto" in sentence


def test_zero_checks_is_not_green(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    person.git("rm", "-q", "-r", "Makefile", "tests")
    person.git("commit", "-q", "-m", "Remove what could be checked")
    sentence = refused(person, *START)
    assert "No checks were found" in sentence
    assert "--no-checks" in sentence


# --- the state directory ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """The journal of a whole run."""
    world = World()
    asyncio.run(world.drive())
    return list(world.records)


def with_journal(folder: Path, lines: list[bytes]) -> Terminal:
    person = terminal(folder)
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(lines))
    state.lock.touch()
    return person


def _damaged(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"seq":2', b'"seq":9'), *lines[2:]]


def _future(lines: list[bytes]) -> list[bytes]:
    body = json.loads(lines[1])
    record = Record(2, body["time"], "GoalBlessed", ("planning", "planning"), {}, schema=99)
    return [lines[0], encode(record), *lines[2:]]


def _unknown(lines: list[bytes]) -> list[bytes]:
    record = Record(2, 0.0, "GoalBlessed", ("planning", "planning"), {})
    return [lines[0], encode(record)]


JOURNALS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], tuple[str, ...]]] = {
    "corrupt": (_damaged, ("line 2 is damaged", "claudetm doctor --repair")),
    "future": (_future, ("newer claudetm", "upgrade claudetm")),
    "of unknown events": (_unknown, ("journal.jsonl cannot be read", "GoalBlessed")),
    "no journal": (lambda _lines: [b"Dear diary\n"], ("no claudetm journal", "move it away")),
}
LOOKING = (("status",), ("status", "--json"), ("plan", "--json"), ("progress",), ("context",), ("logs",))


@pytest.mark.parametrize("name", JOURNALS)
def test_a_journal_that_cannot_be_read_is_refused_and_left_alone(
    name: str, tmp_path: Path, records: list[Record]
) -> None:
    make, says = JOURNALS[name]
    person = with_journal(tmp_path, make([encode(r) for r in records]))
    for command in (START, ("resume",), ("pause",), ("say", "Hello"), *LOOKING):
        if command == ("logs",) and name == "of unknown events":
            continue  # logs print what they need not understand
        sentence = refused(person, *command)
        assert all(word in sentence for word in says), sentence


def test_the_state_of_another_program_is_refused(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    person.state.mkdir()
    (person.state / "state.json").write_text('{"status": "working"}')
    for command in (START, ("resume",), ("status",)):
        sentence = refused(person, *command)
        assert "another program" in sentence
        assert "claudetm clean" in sentence


def test_a_file_in_the_place_of_the_state_directory_is_refused(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    person.state.write_text("mine")
    assert "not a directory of its own; move it away" in refused(person, *START)


def test_a_run_that_is_not_over_is_not_begun_over(tmp_path: Path, records: list[Record]) -> None:
    person = with_journal(tmp_path, [encode(r) for r in records[:12]])
    sentence = refused(person, *START)
    assert "is not finished" in sentence
    assert "claudetm resume" in sentence


def test_a_run_that_is_over_cannot_be_carried_on(tmp_path: Path, records: list[Record]) -> None:
    person = with_journal(tmp_path, [encode(r) for r in records])
    for command in (("resume",), ("pause",), ("stop",), ("say", "Hello")):
        assert "The run is over (verified)" in refused(person, *command)


def test_a_second_start_names_the_holder(tmp_path: Path, records: list[Record]) -> None:
    person = with_journal(tmp_path, [encode(r) for r in records[:12]])
    with acquire(person.state / "lock", "0101-0000-abcd") as _:
        for command in (START, ("resume",)):
            sentence = refused(person, *command)
            assert f"driven by process {os.getpid()} on " in sentence
            assert "claudetm stop" in sentence


# --- looking, in every phase -----------------------------------------------------------------------------------


def _phases(records: list[Record]) -> dict[str, int]:
    """Return how many records there are when each phase has just been entered, and at the end."""
    found: dict[str, int] = {}
    for n, record in enumerate(records, start=1):
        if not record.data.get("change"):
            found.setdefault(record.edge[1], n)
    return {**found, "the end": len(records)}


@pytest.mark.parametrize("phase", ["planning", "planned", "working", "verifying", "verified", "the end"])
def test_every_phase_can_be_looked_at(phase: str, tmp_path: Path, records: list[Record]) -> None:
    lines = [encode(r) for r in records[: _phases(records)[phase]]]
    person = with_journal(tmp_path, [*lines, lines[-1][:30]])  # the last line is being written
    before = bytes_of(person.here, person.home)
    for command in (*LOOKING, ("status", "--criteria"), ("plan",)):
        ended = person(*command)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        if "--json" in command:
            assert isinstance(json.loads(ended.stdout), dict)
    assert bytes_of(person.here, person.home) == before


# --- disks -----------------------------------------------------------------------------------------------------

_LOOK = "look() { find . -printf '%p %s\\n' | sort; find . -type f -exec sha256sum {} + | sort; }; "
_RUN = 'before=$(look); "$@"; code=$?; [ "$before" = "$(look)" ] || { echo changed; look; }; exit $code'
_FULL = 'mount -t tmpfs -o size=4m none "$D" && cp -a "$C/." "$D" && cd "$D" && { cat /dev/zero > fill 2>&-; '
_READ_ONLY = 'mount --bind "$D" "$D" && mount -o remount,ro,bind "$D" && cd "$D" && { '
DISKS = {"full": (_FULL, "No space left on device"), "read-only": (_READ_ONLY, "Read-only file system")}


def on_a_bad_disk(person: Terminal, which: str, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command where the disk below `folder` is full or read-only; it says "changed" if that did change."""
    copy = person.home.parent / "copy"
    folder.mkdir(parents=True, exist_ok=True)
    bytes_of(folder)
    script = f'cp -a "$D" "$C" && {_LOOK}{DISKS[which][0]}cd "$W"; {_RUN}; }}'
    if folder != person.here:
        script = script.replace("look() { ", f'look() {{ cd "{folder}"; ')
    wrap = ("unshare", "-m", "sh", "-c", script, "sh")
    ended = person(*arguments, wrap=wrap, D=str(folder), C=str(copy), W=str(person.here))
    if ended.returncode not in {0, 1, 2, 3} or "unshare:" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip(f"no mount of one's own here: {ended.stderr}")
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("which", DISKS)
@pytest.mark.parametrize("where", ["repository", "state home"])
def test_a_bad_disk_is_found_before_anything_begins(which: str, where: str, tmp_path: Path) -> None:
    person = terminal(tmp_path)
    folder = person.here if where == "repository" else person.home / "state"
    before = bytes_of(person.here)
    code, out, sentence = on_a_bad_disk(person, which, folder, *START)
    assert (code, out) == (1, ""), sentence
    assert len(sentence.splitlines()) == 1, sentence
    assert DISKS[which][1] in sentence
    assert "mend that, then call the same again" in sentence
    assert bytes_of(person.here) == before


@pytest.mark.parametrize("which", DISKS)
def test_a_run_on_a_bad_disk_can_be_looked_at_and_not_carried_on(
    which: str, tmp_path: Path, records: list[Record]
) -> None:
    person = with_journal(tmp_path, [encode(r) for r in records[:12]])
    code, out, sentence = on_a_bad_disk(person, which, person.here, "status")
    assert (code, sentence) == (0, "")
    assert "changed" not in out
    for command in (("resume",), ("say", "Hello")):
        shutil.rmtree(tmp_path / "copy")
        code, out, sentence = on_a_bad_disk(person, which, person.here, *command)
        assert (code, out) == (1, "")
        assert len(sentence.splitlines()) == 1, sentence
        assert DISKS[which][1] in sentence


# --- terminals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    person = terminal(tmp_path, repository=False)
    words = [command] if command else []
    long, short = person(*words, "--help"), person(*words, "-h")
    assert (long.returncode, long.stderr) == (0, "")
    assert long.stdout == short.stdout
    assert f"claudetm {command}".strip() in long.stdout


@pytest.mark.parametrize(
    "extra",
    [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "40"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}],
    ids=str,
)
def test_any_terminal_will_do(extra: dict[str, str], tmp_path: Path, records: list[Record]) -> None:
    person = with_journal(tmp_path, [encode(r) for r in records])
    for command in (("status",), ("status", "--criteria"), ("plan",), ("logs",), ("--help",)):
        person.extra |= extra
        ended = person(*command)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        assert "\x1b" not in ended.stdout
        if "COLUMNS" in extra and command == ("status",):
            assert max(map(len, ended.stdout.splitlines())) <= 40


def test_a_reader_that_goes_away_or_never_was_is_no_error(tmp_path: Path, records: list[Record]) -> None:
    person = with_journal(tmp_path, [encode(r) for r in records])
    for command in (("logs",), ("status",), ("plan",), ("progress",)):
        for reader in ('"$@" | :', '"$@" | head -c 1 >/dev/null', '"$@" >&-', '"$@" <&-', '"$@" 2>&- | :'):
            ended = person(*command, wrap=("bash", "-o", "pipefail", "-c", reader, "sh"))
            assert (ended.returncode, ended.stderr) == (0, ""), (reader, ended)


HEAVY = {"claude_agent_sdk", "github", "git", "fastapi", "pydantic", "asyncio", "jinja2", "starlette"}


@pytest.mark.parametrize("command", [("--help",), ("status",), ("plan",), ("logs",), ("progress",)])
def test_looking_loads_nothing_heavy(command: tuple[str, ...], tmp_path: Path, records: list[Record]) -> None:
    person = with_journal(tmp_path, [encode(r) for r in records])
    ended = person(*command, PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rsplit("|", 1)[1].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")}
    assert "typer" in loaded
    assert not loaded & HEAVY
