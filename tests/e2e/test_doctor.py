"""`claudetm doctor` through the real entry point: each thing that can be amiss is made amiss, and is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from claudetm.adapters.agent.environment import MARKER
from claudetm.adapters.forge.local_journal import ForgeJournal
from claudetm.adapters.store.directory import run_folder
from claudetm.adapters.store.lock import acquire
from claudetm.ports.forge import NewPullRequest
from terminal import SCENARIOS, Terminal, bytes_of, left_halfway, terminal, wait_for

pytestmark = pytest.mark.e2e

KEY = "sk-ant-never-to-be-printed"
Findings = dict[str, dict[str, str]]


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    found = terminal(tmp_path)
    found.extra["ANTHROPIC_API_KEY"] = KEY
    return found


@pytest.fixture
def halted(person: Terminal) -> Terminal:
    """A run whose driver died in the middle of its work."""
    left_halfway(person)
    (person.state / "lock").write_text('{"pid": 1}\n')
    return person


def examined(person: Terminal, *arguments: str, **extra: Any) -> Findings:
    """Return the findings by name. The exit code says whether there is a failure; what is amiss has its remedy."""
    ended = person("doctor", "--json", *arguments, **extra)
    assert ended.stderr == ""
    assert KEY not in ended.stdout
    findings: Findings = {f["name"]: f for f in json.loads(ended.stdout)}
    assert ended.returncode == int(any(f["state"] == "failure" for f in findings.values())), ended
    assert all(bool(f["remedy"]) == (f["state"] != "ok") for f in findings.values()), findings
    return findings


def failure(person: Terminal, name: str, *arguments: str, **extra: Any) -> str:
    """Return what was found and the remedy of a check that fails."""
    finding = examined(person, *arguments, **extra)[name]
    assert finding["state"] == "failure", finding
    return f"{finding['found']} {finding['remedy']}"


def amiss(findings: Findings) -> set[str]:
    # whether bubblewrap works is the machine's matter
    return {name for name, f in findings.items() if f["state"] != "ok" and name != "sandbox"}


def tool(folder: Path, name: str, script: str) -> str:
    """Make a program; return a PATH that has it first."""
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"


def test_where_nothing_is_amiss_it_says_so_in_aligned_lines_and_changes_nothing(person: Terminal) -> None:
    before = bytes_of(person.here, person.home)
    ended = person("doctor")
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert "\nready: 0 failures" in ended.stdout
    assert "\x1b" not in ended.stdout
    for line in ended.stdout.splitlines()[:-2]:
        assert len(line) <= 80 or " " not in line[26:], line  # a path is never broken
        assert line[25] == " "
    findings = examined(person)
    assert amiss(findings) == set()
    assert findings["credentials"]["found"] == "ANTHROPIC_API_KEY"
    assert "make test (detected)" in findings["checks"]["found"]
    assert "Claude Code" in findings["agent CLI"]["found"]
    assert bytes_of(person.here, person.home) == before


def test_outside_of_a_repository_the_machine_and_the_account_are_examined_and_it_says_so(tmp_path: Path) -> None:
    person = terminal(tmp_path, repository=False)
    person.extra["ANTHROPIC_API_KEY"] = KEY
    findings = examined(person)
    assert amiss(findings) == {"repository"}
    assert "only the machine and the account were examined" in findings["repository"]["found"]
    assert {"checks", "state", "driver", "journal", "orphan agents"}.isdisjoint(findings)
    ended = person("doctor")
    assert ended.returncode == 0
    assert "help: call this in a git repository" in ended.stdout
    assert "log in with `claude`" in failure(person, "credentials", ANTHROPIC_API_KEY="")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (("init", "-q", "-b", "main"), "has no commits yet make a first one"),
        (("init", "-q", "--bare"), "is a bare repository run this in a clone of it"),
    ],
    ids=["unborn", "bare"],
)
def test_a_repository_without_anything_to_begin_from_is_named(
    tmp_path: Path, made: tuple[str, ...], says: str
) -> None:
    person = terminal(tmp_path, repository=False)
    person.git(*made)
    assert says in failure(person, "repository", ANTHROPIC_API_KEY=KEY)


def test_clones_that_lack_something_are_named(person: Terminal) -> None:
    person.git("config", "remote.origin.promisor", "true")
    assert "is a partial clone" in failure(person, "repository")
    person.git("config", "--unset", "remote.origin.promisor")
    (person.here / ".git" / "shallow").write_text(person.git("rev-parse", "HEAD"))
    assert "history is shallow" in examined(person)["repository"]["found"]


def test_what_a_fresh_worktree_would_lack_is_named_until_the_setup_brings_it(person: Terminal) -> None:
    (person.here / ".gitmodules").write_text("")
    (person.here / ".gitattributes").write_text("*.png filter=lfs diff=lfs merge=lfs -text\n")
    person.git("add", ".gitmodules", ".gitattributes")
    person.git("commit", "-q", "-m", "Have pictures")
    findings = examined(person)
    assert amiss(findings) == {"submodules", "Git LFS"}
    assert "git submodule update --init" in findings["submodules"]["remedy"]
    setup = ("config", "set", "worktree.setup", "git submodule update --init", "git lfs pull")
    assert person(*setup).returncode == 0
    assert amiss(examined(person)) == set()


def test_a_lock_that_a_dead_git_left_is_named_and_a_fresh_one_is_not(person: Terminal) -> None:
    lock = person.here / ".git" / "index.lock"
    lock.touch()
    assert amiss(examined(person)) == set()
    os.utime(lock, (1, 1))
    findings = examined(person)
    assert amiss(findings) == {"git locks"}
    assert f"rm {lock}" in findings["git locks"]["remedy"]


def test_a_path_without_git_is_named(person: Terminal, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "install git 2.38" in failure(person, "git", PATH=str(empty))


def test_an_old_git_is_named(person: Terminal, tmp_path: Path) -> None:
    path = tool(tmp_path / "old", "git", "echo git version 2.30.2")
    assert "git version 2.30.2 is too old" in failure(person, "git", PATH=path)


def test_nobody_to_commit_as_is_a_warning(person: Terminal) -> None:
    person.git("config", "--unset", "user.email")
    findings = examined(person)
    assert amiss(findings) == {"git identity"}
    assert "git config user.email" in findings["git identity"]["remedy"]


def test_a_repository_that_a_start_refuses_is_refused_with_its_sentence(person: Terminal) -> None:
    person.git("checkout", "-q", "--detach")
    assert "is on no branch switch to one" in failure(person, "repository")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_is_named(person: Terminal) -> None:
    person.state.mkdir(mode=0o700)
    for path in (person.here, person.here / ".git"):
        os.chown(path, 1234, 1234)
    assert "safe.directory" in failure(person, "repository")


def test_no_credentials_are_a_failure_and_a_login_is_enough(person: Terminal) -> None:
    del person.extra["ANTHROPIC_API_KEY"]
    assert "log in with `claude`" in failure(person, "credentials")
    login = person.home / ".claude" / ".credentials.json"
    login.parent.mkdir()
    login.write_text(json.dumps({"token": KEY}))
    assert examined(person)["credentials"]["found"] == f"the login in {login}"
    gateway = {"ANTHROPIC_AUTH_TOKEN": KEY, "ANTHROPIC_BASE_URL": "http://localhost:9"}
    both = examined(person, **gateway)["credentials"]
    assert both["state"] == "warning"
    assert both["found"].startswith("ANTHROPIC_AUTH_TOKEN with ANTHROPIC_BASE_URL is used")


def test_of_two_credentials_the_one_that_is_used_is_named(person: Terminal) -> None:
    found = examined(person, CLAUDE_CODE_OAUTH_TOKEN=KEY)
    assert amiss(found) == {"credentials"}
    assert "ANTHROPIC_API_KEY is used, although there is CLAUDE_CODE_OAUTH_TOKEN" in found["credentials"]["found"]


def test_a_full_disk_is_a_failure(person: Terminal, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    script = 'mount -t tmpfs -o size=4m none "$D" && exec "$@"'
    wrap = ("unshare", "-m", "sh", "-c", script, "sh")
    extra: dict[str, Any] = {"D": str(tmp_path / "small"), "XDG_STATE_HOME": str(tmp_path / "small")}
    if subprocess.run([*wrap, "true"], env={**os.environ, **extra}, check=False, capture_output=True).returncode:
        pytest.skip("no mount of one's own here")
    ended = person("doctor", "--json", wrap=wrap, **extra)
    [found] = [f for f in json.loads(ended.stdout) if f["state"] == "failure"]
    assert ended.returncode == 1
    assert found["name"] == "runs' disk"
    assert "4 MiB free" in found["found"]
    assert "make room" in found["remedy"]


def test_another_claudetm_first_on_path_is_a_warning(person: Terminal, tmp_path: Path) -> None:
    found = examined(person, PATH=tool(tmp_path / "other", "claudetm", "exit 0"))
    assert amiss(found) == {"claudetm"}
    assert str(tmp_path / "other" / "claudetm") in found["claudetm"]["found"]
    old = tool(tmp_path / "old", "claudetm", "from claude_task_master.cli import run")
    assert examined(person, PATH=old)["claudetm"]["found"].endswith("claude-task-master's")


def test_a_bubblewrap_that_does_not_work_says_why_and_what_that_means(person: Terminal, tmp_path: Path) -> None:
    path = tool(tmp_path / "bwrap", "bwrap", "echo bwrap: No permissions to create new namespace >&2; exit 1")
    found = examined(person, PATH=path)["sandbox"]
    assert found["state"] == "warning"
    assert "does not work here (No permissions to create new namespace); without it an agent is you" in found["found"]
    assert "No permissions" in failure(person, "sandbox", PATH=path, CLAUDETM_SANDBOX="on")


def test_a_cli_that_does_not_run_is_named(person: Terminal, tmp_path: Path) -> None:
    sdk = tmp_path / "broken" / "claude_agent_sdk"
    (sdk / "_bundled").mkdir(parents=True)
    (sdk / "__init__.py").touch()
    (sdk / "_bundled" / "claude").write_text("#!/bin/sh\nexit 7\n")
    (sdk / "_bundled" / "claude").chmod(0o755)
    assert "install claude-agent-sdk anew" in failure(person, "agent CLI", PYTHONPATH=str(sdk.parent))


def test_what_is_wrong_in_configuration_prompts_and_checks_is_named(person: Terminal) -> None:
    (person.state / "prompts").mkdir(parents=True)
    (person.state / "prompts" / "worker.user.md.j2").write_text("{{ task\n")
    person.git("rm", "-q", "-r", "Makefile", "tests")
    person.git("commit", "-q", "-m", "Remove what could be checked")
    person.state.chmod(0o755)
    findings = examined(person)
    assert amiss(findings) == {"prompts", "checks", "state"}
    assert "worker.user.md.j2, line 1" in findings["prompts"]["found"]
    assert "--no-checks" in findings["checks"]["remedy"]
    assert findings["state"]["remedy"] == f"chmod 700 {person.state}"
    (person.state / "config.json").write_text('{"chekcs": 1}')
    assert "did you mean checks" in failure(person, "configuration")


def test_a_configuration_that_others_can_read_is_named(person: Terminal) -> None:
    person.state.mkdir(mode=0o700)
    (person.state / "config.json").write_text("{}")
    (person.state / "config.json").chmod(0o644)
    findings = examined(person)
    assert amiss(findings) == {"permissions"}
    assert findings["permissions"]["remedy"] == f"chmod 600 {person.state / 'config.json'}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_cannot_be_written_is_named(halted: Terminal) -> None:
    (halted.state / "journal.jsonl").chmod(0o400)
    assert "journal.jsonl in" in failure(halted, "permissions")


def test_damage_in_the_forges_records_is_left_out_and_what_stands_behind_it_stays(halted: Terminal) -> None:
    forge = ForgeJournal(halted.state / "forge" / "journal.jsonl")
    forge.open(NewPullRequest("c1", "claudetm/r1/c1", "a" * 40, "Greet", ""), "b" * 40, 0)
    forge.approve(1, "Ada")
    forge.object_(1, "Bob")
    assert examined(halted)["forge journal"]["found"] == "1 pull requests"
    lines = forge.path.read_bytes().splitlines(keepends=True)
    damaged = b"".join([lines[0], b"\0" * 9 + b"\n", lines[2]])
    forge.path.write_bytes(damaged)
    assert "is damaged at line 2" in failure(halted, "forge journal")
    with acquire(halted.state / "lock", "r1"):
        assert "claudetm stop ends it" in failure(halted, "forge journal", "--repair")
    assert forge.path.read_bytes() == damaged
    found = examined(halted, "--repair")["forge journal"]
    [copy] = forge.path.parent.glob("journal.jsonl.damaged-*")
    assert (found["state"], copy.read_bytes()) == ("warning", damaged)
    assert f"line 2 left out; as it was, it is kept in {copy}" in found["found"]
    mended = ForgeJournal(forge.path)
    mended.refresh()
    assert mended.pulls[1].verdicts == {"Bob": False}
    assert examined(halted)["forge journal"]["state"] == "ok"
    forge.path.write_bytes(lines[0] + b'{"kind": "sung", "number": 1}\n')
    assert "which this version does not know" in failure(halted, "forge journal", "--repair")


def test_a_state_directory_of_others_is_named(person: Terminal) -> None:
    person.state.mkdir()
    (person.state / "state.json").write_text("{}")
    assert "another program" in failure(person, "state")
    (person.state / "journal.jsonl").write_text("planted\n")
    person.git("add", "--force", ".claude-task-master")
    assert "git rm -r --cached" in failure(person, "state")


def test_the_lock_of_a_dead_driver_and_a_torn_last_line_are_in_nobodys_way(halted: Terminal) -> None:
    assert "the last one died" in examined(halted)["driver"]["found"]
    with (halted.state / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"seq":13,"ti')
    torn = examined(halted)["journal"]
    assert torn["state"] == "warning"
    assert "13 bytes" in torn["found"]
    assert "repaired: 12 events" in examined(halted, "--repair")["journal"]["found"]
    assert examined(halted)["journal"]["state"] == "ok"


def test_a_damaged_journal_is_named_repaired_and_goes_on(person: Terminal, tmp_path: Path) -> None:
    scenario = tmp_path / "quick.yaml"
    scenario.write_text((SCENARIOS / "loud.yaml").read_text(encoding="utf-8").replace("delay: 5", "delay: 0"))
    words = ("start", "Greet loudly", "--rehearse", str(scenario), "--no-review")
    stopped = person(*words, CLAUDETM_KILL_AT="after:6")
    assert stopped.returncode == -9
    journal = person.state / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"seq":5', b'"seq":7')
    journal.write_bytes(b"".join(lines))
    assert "line 5 is damaged" in failure(person, "journal")
    assert journal.read_bytes() == b"".join(lines)
    with acquire(person.state / "lock", "0101-0000-abcd"):
        assert "claudetm stop ends it" in failure(person, "journal", "--repair")
        assert journal.read_bytes() == b"".join(lines)
    mended = examined(person, "--repair")["journal"]
    [copy] = person.state.glob("journal.jsonl.damaged-*")
    assert "repaired: 4 events" in mended["found"]
    assert str(copy) in mended["found"]
    assert copy.read_bytes() == b"".join(lines)
    assert journal.read_bytes() == b"".join(lines[:4])
    assert person("resume").returncode == 0
    assert "verified" in person("status").stdout


@pytest.fixture
def sleeper() -> Iterator[list[psutil.Process]]:
    """Processes that a test adds, ended with it."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        if process.is_running():
            process.kill()
            process.wait(5)


@pytest.mark.skipif(sys.platform != "linux", reason="what is left of a run is found through /proc")
def test_orphans_are_named_and_ended_unless_they_are_another_repositorys_or_driven(
    halted: Terminal, sleeper: list[psutil.Process]
) -> None:
    for root, run in ((halted.here, "0101-0000-aaaa"), (halted.home, "0101-0000-bbbb")):
        (halted.home / "state" / "claudetm" / run_folder(root, run).parent.name / run).mkdir(parents=True)
        program = shutil.which("sleep") or "sleep"
        sleeper.append(psutil.Popen([program, "300"], env={MARKER: run}))
    mine, strangers = sleeper
    wait_for(lambda: all(MARKER in p.environ() for p in sleeper), "their environment")
    assert f"kill {mine.pid}" in failure(halted, "orphan agents")
    with acquire(halted.state / "lock", "0101-0000-aaaa"):
        assert examined(halted, "--repair")["orphan agents"]["found"] == "none"
    assert mine.status() != psutil.STATUS_ZOMBIE
    assert examined(halted, "--repair")["orphan agents"]["found"] == f"ended: process {mine.pid}"
    assert mine.wait(5) < 0
    assert strangers.is_running()


def test_a_remedy_is_one_and_never_the_problem_again(person: Terminal, tmp_path: Path) -> None:
    spoilt = examined(person, ANTHROPIC_API_KEY="a b")
    for name in ("credentials", "configuration"):
        assert spoilt[name]["found"].endswith("api.anthropic_api_key must be a key without spaces, not [secret]")
        assert spoilt[name]["remedy"] == "correct it there; `claudetm config path` names the files"
    bare = examined(person, PATH=str(tmp_path))
    assert (bare["git"]["found"], bare["repository"]["found"]) == ("git is not on PATH",) * 2
    assert bare["repository"]["remedy"] == "install git 2.38 or newer"
    for command in (("start", "Greet"), ("config", "show"), ("resume",)):
        refused = person(*command, PATH=str(tmp_path))
        assert refused.stderr == "claudetm: git is not on PATH: install git 2.38 or newer.\n", refused
        assert refused.returncode == 1
