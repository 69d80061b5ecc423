"""A task's kept work into the checkout, on real git: all of it or nothing, uncommitted, and no one's file lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from claudetm.adapters.git.applying import Applied, InPlace, InTheWay, bring
from claudetm.adapters.git.user_refs import UserRefs

ADA = "Ada <ada@localhost>"


class Place:
    """The user's repository, with work that was made upon its first commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q", "-b", "main", str(root))
        self.write("plain.txt", "one\ntwo\nthree\n")
        self.write("old.txt", "".join(f"line {n}\n" for n in range(20)))
        self.write("gone.txt", "gone\n")
        self.write("script.sh", "#!/bin/sh\n")
        self.write("data.bin", b"\0\1\2" * 100)
        self.base = self.commit("Begin")
        self.user = UserRefs(root, root / ".git", ADA)

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@localhost", *arguments]
        cwd = self.root if self.root.exists() else self.root.parent
        done = subprocess.run(command, cwd=cwd, capture_output=True, check=True)
        return os.fsdecode(done.stdout)

    def write(self, name: str, content: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def work(self) -> str:
        """Commit what the checkout holds as the task's work, and put the checkout back."""
        commit = self.commit("The task's work")
        self.git("update-ref", "refs/claudetm/r1/snapshots/c1-1", commit)
        self.git("reset", "-q", "--hard", self.base)
        return commit

    @property
    def status(self) -> list[str]:
        return self.git("status", "--porcelain").splitlines()

    def everything(self) -> dict[str, bytes]:
        files = [p for p in self.root.rglob("*") if p.is_file() and ".git" not in p.parts]
        index = self.git("ls-files", "-s").encode()
        return {str(p): p.read_bytes() for p in files} | {
            "index": index,
            "head": self.git("rev-parse", "HEAD").encode(),
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root = tmp_path / "repo"
    root.mkdir()
    return Place(root)


def all_kinds(place: Place) -> str:
    place.write("plain.txt", "one\ntwo\nTHREE\n")
    place.write("folder/new.txt", "new\n")
    place.write("data.bin", b"\0\7" * 99)
    (place.root / "script.sh").chmod(0o755)
    (place.root / "gone.txt").unlink()
    (place.root / "old.txt").rename(place.root / "renamed.txt")
    (place.root / "link").symlink_to("plain.txt")
    return place.work()


def test_every_kind_of_change_arrives_uncommitted(place: Place) -> None:
    work = all_kinds(place)
    outcome = bring(place.user, place.base, work)
    assert isinstance(outcome, Applied), outcome
    assert set(outcome.paths) == {
        "plain.txt", "folder/new.txt", "data.bin", "script.sh", "gone.txt", "old.txt", "renamed.txt", "link"
    }  # fmt: skip
    assert place.git("rev-parse", "HEAD").strip() == place.base
    assert place.git("write-tree") == place.git("rev-parse", f"{work}^{{tree}}")
    assert place.git("diff") == ""
    assert os.access(place.root / "script.sh", os.X_OK)
    assert (place.root / "link").readlink() == Path("plain.txt")
    assert not (place.root / "gone.txt").exists()


def test_called_again_it_says_that_it_is_there(place: Place) -> None:
    work = all_kinds(place)
    bring(place.user, place.base, work)
    before = place.everything()
    assert bring(place.user, place.base, work) == InPlace()
    assert place.everything() == before
    place.commit("Take it")
    assert bring(place.user, place.base, work) == InPlace()


def test_what_was_committed_since_is_merged_with(place: Place) -> None:
    place.write("plain.txt", "one\ntwo\nTHREE\n")
    work = place.work()
    place.write("plain.txt", "ONE\ntwo\nthree\n")
    place.write("other.txt", "other\n")
    place.commit("Meanwhile")
    assert bring(place.user, place.base, work) == Applied(("plain.txt",))
    assert (place.root / "plain.txt").read_text() == "ONE\ntwo\nTHREE\n"


def test_a_file_that_was_renamed_since_gets_the_work_under_its_new_name(place: Place) -> None:
    lines = (place.root / "old.txt").read_text()
    place.write("old.txt", lines.replace("line 7\n", "line seven\n"))
    work = place.work()
    place.git("mv", "old.txt", "elsewhere.txt")
    place.commit("Rename")
    assert bring(place.user, place.base, work) == Applied(("elsewhere.txt",))
    assert "line seven" in (place.root / "elsewhere.txt").read_text()


def test_changes_of_the_user_s_elsewhere_stay_as_they_are(place: Place) -> None:
    work = all_kinds(place)
    place.write("README", "staged\n")
    place.git("add", "README")
    place.write("README", "and edited\n")
    place.write("notes.txt", "untracked\n")
    assert isinstance(bring(place.user, place.base, work), Applied)
    assert place.git("show", ":README") == "staged\n"
    assert (place.root / "README").read_text() == "and edited\n"
    assert (place.root / "notes.txt").read_text() == "untracked\n"


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("path", ["plain.txt", "script.sh", "gone.txt", "old.txt", "data.bin"])
def test_a_touched_file_with_changes_refuses_all_of_it(place: Place, path: str, staged: bool) -> None:
    work = all_kinds(place)
    place.write(path, "mine\n")
    if staged:
        place.git("add", "-A")
    before = place.everything()
    assert bring(place.user, place.base, work) == InTheWay(
        "they have changes of yours that are not committed", (path,)
    )
    assert place.everything() == before


@pytest.mark.parametrize("path", ["folder/new.txt", "folder", "link", "renamed.txt"])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_file_that_git_does_not_track_is_never_overwritten(place: Place, path: str, ignored: bool) -> None:
    work = all_kinds(place)
    if ignored:
        place.write(".git/info/exclude", f"{path}\n")
    place.write(path, "mine\n")
    before = place.everything()
    outcome = bring(place.user, place.base, work)
    assert isinstance(outcome, InTheWay)
    assert any(path in named for named in outcome.paths)
    assert place.everything() == before


def test_a_file_that_was_rewritten_as_it_was_is_no_change(place: Place) -> None:
    work = all_kinds(place)
    for name in ("plain.txt", "data.bin"):
        content = (place.root / name).read_bytes()
        (place.root / name).unlink()
        place.write(name, content)
        os.utime(place.root / name, (1, 1))
    place.write("old.txt", (place.root / "old.txt").read_text())
    assert isinstance(bring(place.user, place.base, work), Applied)


def test_a_conflict_is_refused_and_named(place: Place) -> None:
    place.write("plain.txt", "one\ntwo\nTHREE\n")
    work = place.work()
    place.write("plain.txt", "one\ntwo\ndrei\n")
    place.commit("Meanwhile")
    before = place.everything()
    assert bring(place.user, place.base, work) == InTheWay("it conflicts with what is checked out", ("plain.txt",))
    assert place.everything() == before


def test_a_checkout_in_the_middle_of_a_merge_is_left_alone(place: Place) -> None:
    work = all_kinds(place)
    place.write(".git/MERGE_HEAD", f"{place.base}\n")
    outcome = bring(place.user, place.base, work)
    assert outcome == InTheWay("the checkout is in the middle of something (MERGE_HEAD)")


def test_what_a_kill_left_half_written_is_completed(place: Place) -> None:
    work = all_kinds(place)
    for path in ("plain.txt", "folder/new.txt"):
        place.write(path, place.git("show", f"{work}:{path}"))
    (place.root / "gone.txt").unlink()
    assert isinstance(bring(place.user, place.base, work), Applied)
    assert place.git("write-tree") == place.git("rev-parse", f"{work}^{{tree}}")
    assert bring(place.user, place.base, work) == InPlace()


def test_a_submodule_s_checkout_is_not_touched(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    library = Place(other)
    place.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "lib")
    place.base = place.commit("With a library")
    library.write("plain.txt", "newer\n")
    newer = library.commit("Newer")
    place.write("plain.txt", "one\ntwo\nTHREE\n")
    place.git("update-index", "--cacheinfo", f"160000,{newer},lib")
    place.git("add", "plain.txt")
    place.git("commit", "-q", "-m", "The task's work")
    work = place.git("rev-parse", "HEAD").strip()
    place.git("reset", "-q", "--hard", place.base)
    (place.root / "lib" / "mine.txt").write_text("mine")
    checked_out = place.git("-C", "lib", "rev-parse", "HEAD")
    assert isinstance(bring(place.user, place.base, work), Applied)
    assert place.git("-C", "lib", "rev-parse", "HEAD") == checked_out
    assert (place.root / "lib" / "mine.txt").read_text() == "mine"


def test_no_hook_runs_and_no_filter_that_the_work_brings(place: Place) -> None:
    ran = place.root.parent / "ran"
    place.write(".gitattributes", "*.txt filter=evil merge=evil\n")
    place.write("plain.txt", "one\ntwo\nTHREE\n")
    work = place.work()
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "post-merge"):
        place.write(f".git/hooks/{hook}", f"#!/bin/sh\ntouch {ran}\n")
        (place.root / ".git" / "hooks" / hook).chmod(0o755)
    assert isinstance(bring(place.user, place.base, work), Applied)
    assert not ran.exists()


def test_a_file_that_becomes_a_folder_and_the_reverse_arrive(place: Place) -> None:
    place.write("folder/a.txt", "a\n")
    (place.root / "link").symlink_to("folder")
    place.base = place.commit("More")
    for name in ("plain.txt", "link"):
        (place.root / name).unlink()
        place.write(f"{name}/x.txt", "x\n")
    (place.root / "folder" / "a.txt").unlink()
    (place.root / "folder").rmdir()
    place.write("folder", "now a file\n")
    work = place.work()
    place.write("folder/mine.txt", "mine\n")
    assert bring(place.user, place.base, work) == InTheWay(
        "they have changes of yours that are not committed", ("folder",)
    )
    assert (place.root / "folder" / "mine.txt").read_text() == "mine\n"
    (place.root / "folder" / "mine.txt").unlink()
    (place.root / "folder" / "mine").symlink_to("/")
    assert isinstance(bring(place.user, place.base, work), InTheWay)
    (place.root / "folder" / "mine").unlink()
    assert isinstance(bring(place.user, place.base, work), Applied)
    assert (place.root / "plain.txt" / "x.txt").read_text() == "x\n"
    assert not (place.root / "link").is_symlink()
    assert (place.root / "folder").read_text() == "now a file\n"
    assert place.git("diff") == ""
    assert bring(place.user, place.base, work) == InPlace()


def test_what_git_cannot_write_to_its_end_is_taken_back(place: Place) -> None:
    place.git("config", "filter.broken.smudge", "false")
    place.git("config", "filter.broken.required", "true")
    place.write("aaa.txt", "first\n")
    place.write("plain.txt", "one\ntwo\nTHREE\n")
    place.write("new/folder/b.txt", "b\n")
    (place.root / "gone.txt").unlink()
    (place.root / "script.sh").chmod(0o755)
    (place.root / "old.txt").unlink()
    place.write("old.txt/inner.txt", "i\n")
    place.write("zzz.dat", "last\n")
    work = place.work()
    place.write(".git/info/attributes", "*.dat filter=broken\n")
    before = place.everything()
    refused = bring(place.user, place.base, work)
    assert isinstance(refused, InTheWay)
    assert place.everything() == before
    assert place.status == []
    assert not (place.root / "new").exists()


def test_outside_of_a_sparse_checkout_nothing_is_written_and_it_is_there_all_the_same(place: Place) -> None:
    place.write("inner/a.txt", "a\n")
    place.write("outer/b.txt", "b\n")
    place.base = place.commit("More")
    place.write("inner/a.txt", "A\n")
    place.write("outer/b.txt", "B\n")
    work = place.work()
    place.git("sparse-checkout", "set", "inner")
    assert isinstance(bring(place.user, place.base, work), Applied)
    assert (place.root / "inner" / "a.txt").read_text() == "A\n"
    assert not (place.root / "outer").exists()
    assert place.git("write-tree") == place.git("rev-parse", f"{work}^{{tree}}")
    assert bring(place.user, place.base, work) == InPlace()


def test_a_submodule_alone_that_the_work_moves_or_removes_is_staged_once(place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    library = Place(tmp_path / "other")
    for name in ("lib", "old"):
        place.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.root), name)
    place.base = place.commit("With libraries")
    library.write("plain.txt", "newer\n")
    place.git("update-index", "--cacheinfo", f"160000,{library.commit('Newer')},lib")
    place.git("rm", "-q", "--cached", "old")
    place.git("commit", "-q", "-m", "The task's work")
    work = place.git("rev-parse", "HEAD").strip()
    place.git("reset", "-q", "--hard", place.base)
    assert bring(place.user, place.base, work) == Applied(("lib", "old"))
    assert place.git("write-tree") == place.git("rev-parse", f"{work}^{{tree}}")
    assert (place.root / "old" / "plain.txt").exists()
    assert bring(place.user, place.base, work) == InPlace()


def test_line_ends_and_names_of_all_kinds_arrive_as_a_checkout_writes_them(place: Place) -> None:
    place.git("config", "core.autocrlf", "true")
    place.write(".gitattributes", "*.win text eol=crlf\n*.raw -text\n")
    place.write("new.win", "a\nb\n")
    place.write("new.raw", "a\r\nb\n")
    for name in (b"caf\xe9.txt", b"line\nend.txt", b'"quoted" \\.txt', "\u00fc\u202e.txt".encode()):
        (place.root / os.fsdecode(name)).write_text("x\n")
    (place.root / "plain.txt").rename(place.root / "PLAIN.txt")
    work = place.work()
    outcome = bring(place.user, place.base, work)
    assert isinstance(outcome, Applied)
    assert (place.root / "new.win").read_bytes() == b"a\r\nb\r\n"
    assert (place.root / "new.raw").read_bytes() == b"a\r\nb\n"
    assert (place.root / os.fsdecode(b"caf\xe9.txt")).exists()
    assert (place.root / "PLAIN.txt").exists()
    assert place.git("diff") == ""
    assert bring(place.user, place.base, work) == InPlace()


def test_in_a_linked_worktree_it_goes_there_and_a_merge_elsewhere_is_no_hindrance(
    place: Place, tmp_path: Path
) -> None:
    work = all_kinds(place)
    place.git("worktree", "add", "-q", "-b", "beside", str(tmp_path / "beside"))
    place.write(".git/MERGE_HEAD", f"{place.base}\n")
    beside = UserRefs(tmp_path / "beside", place.root / ".git", ADA)
    assert isinstance(bring(beside, place.base, work), Applied)
    assert (tmp_path / "beside" / "folder" / "new.txt").exists()
    assert not (place.root / "folder").exists()
