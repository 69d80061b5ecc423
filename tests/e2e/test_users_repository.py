"""The user's repository, lived in: after a run, a kill and a resume every byte of it is as before, but for our refs.

What landing changes is the branch that was asked for, its index and the files of the merge; nothing else.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from terminal import Terminal, terminal

pytestmark = pytest.mark.e2e

GOAL = "Greet a stranger"
PLAYED = str(Path(__file__).parent / "scenarios" / "one_change.yaml")
CANARY = "canary-of-the-users-own-4b1d"
HOOKS = (
    *("applypatch-msg", "commit-msg", "fsmonitor-watchman", "post-applypatch", "post-checkout", "post-commit"),
    *("post-index-change", "post-merge", "post-receive", "post-rewrite", "post-update", "pre-applypatch"),
    *("pre-auto-gc", "pre-commit", "pre-merge-commit", "pre-push", "pre-rebase", "pre-receive"),
    *("prepare-commit-msg", "proc-receive", "push-to-checkout", "reference-transaction", "sendemail-validate"),
    "update",
)
OURS = re.compile(
    r"\.claude-task-master(/|$)"
    r"|\.git/objects(/|$)"
    r"|\.git/(logs/)?refs/(heads/)?claudetm(/|$)"
    r"|\.git/info/exclude$"
)
LANDED = re.compile(r"\.git/(logs/)?(HEAD|refs/heads/main)$|\.git/(index|ORIG_HEAD)$|greet/greet\.py$")


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def ran(person: Terminal) -> str:
    """Return the names of the user's programs that have run."""
    log = person.home / "ran.txt"
    return log.read_text() if log.exists() else ""


def lived_in(person: Terminal) -> None:
    """Fill the repository with all that a person may have: nothing of it may run, move or be taken along."""
    git, here = person.git, person.here
    programs = person.home / "programs"
    (here / ".gitignore").write_text("__pycache__/\n.env\nbuild/\n")
    (here / ".gitattributes").write_text("*.dat filter=mine diff=mine merge=mine\n")
    (here / "some.dat").write_text("data\n")
    (here / "staged.txt").write_text("1\n")
    (here / ".gitmodules").write_text('[submodule "lib"]\n\tpath = vendor/lib\n\turl = https://example.org/lib.git\n')
    git("add", "-A")
    git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor/lib")
    git("commit", "-q", "-m", "Live here")
    for text in ("first", "second"):
        (here / "README.md").write_text(f"{text} thought\n")
        git("stash", "push", "-q", "-m", text)
    git("branch", "side")
    git("worktree", "add", "-q", str(person.home / "linked"), "side")
    git("worktree", "add", "-q", "--detach", str(person.home / "detached"))
    (here / ".env").write_text(f"SECRET={CANARY}\n")
    (here / "build").mkdir()
    (here / "build" / "out.bin").write_bytes(b"\0\1\2")
    (here / "notes to self.txt").write_text("mine\n")
    (here / "link").symlink_to("/etc/hostname")
    for name in ("fsmonitor", "gpg", "filter", "textconv", "merge", "editor", "pager", "ssh", "credential"):
        script(programs / name, f"echo {name} >> {person.home}/ran.txt; exit 1")
    script(programs / "cat", "cat")
    for key, value in {
        "core.fsmonitor": f"{programs}/fsmonitor",
        "core.editor": f"{programs}/editor",
        "core.pager": f"{programs}/pager",
        "core.sshCommand": f"{programs}/ssh",
        "credential.helper": f"{programs}/credential",
        "commit.gpgsign": "true",
        "tag.gpgsign": "true",
        "gpg.program": f"{programs}/gpg",
        "filter.mine.clean": f"{programs}/cat",
        "filter.mine.smudge": f"{programs}/cat",
        "diff.mine.textconv": f"{programs}/textconv",
        "merge.mine.driver": f"{programs}/merge %O %A %B",
        "merge.ff": "false",
        "pull.rebase": "true",
        "alias.status": "!false",
        "user.name": "Ada",
        "user.email": "ada@localhost",
        "remote.origin.url": "https://example.org/greet.git",
    }.items():
        git("config", key, value)
    (here / ".git" / "info").mkdir()
    (here / ".git" / "info" / "exclude").write_text("*.mine\n")
    for name in HOOKS:
        script(here / ".git" / "hooks" / name, f"echo hook {name} >> {person.home}/ran.txt; exit 1")


def make_dirty(person: Terminal) -> None:
    """Change, stage and leave things, as in the middle of a day's work."""
    (person.here / "staged.txt").write_text("2\n")
    person.git("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "add", "staged.txt")
    (person.here / "staged.txt").write_text("3\n")
    (person.here / "README.md").write_text("dirty\n")
    (person.here / "some.dat").write_text("dirty data\n")


def snapshot(person: Terminal) -> Mapping[str, tuple[int, bytes]]:
    """Return mode and bytes of all that is the user's: their checkout, their git directory, their other worktrees."""
    found = {}
    for folder in (person.here, person.home / "linked", person.home / "detached"):
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(person.here)) if folder == person.here else str(path)
            if OURS.match(name):
                continue
            bytes_ = (
                str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            )
            found[name] = (path.lstat().st_mode, bytes_)
    return found


def differing(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def told(person: Terminal) -> bytes:
    """Return all that a run has written anywhere: its folder, its state, every object of every repository."""
    files = [p for p in (person.home / "state").rglob("*") if p.is_file() and not p.is_symlink()]
    files += [p for p in person.state.rglob("*") if p.is_file()]
    objects = [
        subprocess.run(
            ["git", "--git-dir", folder, "cat-file", "--batch-all-objects", "--batch"],
            env={"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null"},
            capture_output=True,
            check=True,
        ).stdout
        for folder in (person.here / ".git", *(person.home / "state").rglob("clean-room.git"))
    ]
    return b"\n".join([p.read_bytes() for p in files] + objects)


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    at = terminal(tmp_path)
    at.extra |= {"PATH": "/usr/bin:/bin", "CLAUDETM_REVIEWS_SELF": "false"}
    lived_in(at)
    return at


def whole(person: Terminal) -> None:
    """Nothing of the user's ran, nothing private was taken along, one line of theirs was added to."""
    assert ran(person) == ""
    written = told(person)
    assert GOAL.encode() in written
    assert CANARY.encode() not in written
    assert (person.here / ".git" / "info" / "exclude").read_text() == "*.mine\n/.claude-task-master/\n"


def test_a_dirty_checkout_is_as_before_after_a_run(person: Terminal) -> None:
    make_dirty(person)
    before = snapshot(person)
    done = person("start", GOAL, "--rehearse", PLAYED)
    assert done.returncode == 0, done
    assert "main was left alone: the checkout has uncommitted changes" in done.stdout
    assert differing(before, snapshot(person)) == set()
    whole(person)


@pytest.mark.parametrize("at", ["after:1", "before:9", "after:14", "before:18"])
def test_a_dirty_checkout_is_as_before_after_a_kill_and_a_resume(person: Terminal, at: str) -> None:
    make_dirty(person)
    before = snapshot(person)
    killed = person("start", GOAL, "--rehearse", PLAYED, CLAUDETM_KILL_AT=at)
    assert killed.returncode == -9, killed
    assert differing(before, snapshot(person)) == set()
    done = person("resume")
    assert done.returncode == 0, done
    assert differing(before, snapshot(person)) == set()
    whole(person)


def test_landing_on_a_clean_checkout_moves_the_branch_and_nothing_else(person: Terminal) -> None:
    before = snapshot(person)
    done = person("start", GOAL, "--rehearse", PLAYED)
    assert done.returncode == 0, done
    assert "main and its checkout were updated" in done.stdout
    changed = differing(before, snapshot(person))
    assert "greet/greet.py" in changed
    assert {name for name in changed if not LANDED.match(name)} == set()
    assert "stranger" in (person.here / "greet" / "greet.py").read_text()
    whole(person)


def test_a_run_from_a_linked_worktree_leaves_the_others_alone(person: Terminal) -> None:
    before = snapshot(person)
    linked = Terminal(person.home / "linked", person.home, person.extra)
    done = linked("start", GOAL, "--rehearse", PLAYED)
    assert done.returncode == 0, done
    changed = {n for n in differing(before, snapshot(person)) if "/linked/.claude-task-master" not in n}
    allowed = re.compile(
        r"\.git/(logs/)?refs/heads/side$|\.git/worktrees/linked/(index|ORIG_HEAD|logs/HEAD)$|.*/linked/greet/greet\.py$"
    )
    assert {name for name in changed if not allowed.match(name)} == set()
    assert "stranger" in (linked.here / "greet" / "greet.py").read_text()
    assert ran(person) == ""
