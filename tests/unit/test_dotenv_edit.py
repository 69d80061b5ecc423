"""`.env` is the user's: the wizard changes the lines of its own names, and every other byte stays."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from claudetm.bootstrap.dotenv import parse
from claudetm.bootstrap.dotenv_edit import edited, write
from claudetm.errors import ConfigError, UsageError

KEY, URL = "SEGO_API_KEY", "SEGO_API_URL"
OTHERS = [
    b"# a comment",
    b"",
    b"FOO=bar",
    b"export TOKEN='x y'",
    b'LINES="one',
    b'two"',
    b"NOT_SEGO_API_KEY=1",
    b"#SEGO_API_KEY=old",
    b"broken line \xff\xfe",
    b"A=it's",
    b"\t X = 1 # why",
]
OURS = [b"SEGO_API_KEY=old", b"export SEGO_API_KEY = 'old'", b"  SEGO_API_KEY=", b'SEGO_API_KEY="old" # mine']
FILES = st.builds(
    lambda lines, ends, tail: b"".join(a + b for a, b in zip(lines, ends, strict=False)) + tail,
    st.lists(st.sampled_from(OTHERS + OURS), max_size=8),
    st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=8, max_size=8),
    st.sampled_from([b"", *OTHERS, *OURS]),
)


def others(content: bytes) -> list[bytes]:
    """Return every line that sets no name of ours."""
    return [line for line in content.splitlines() if not re.match(rb"\s*(export\s+)?SEGO_API_(KEY|URL)\s*=", line)]


@example(b"A=1\r\nSEGO_API_KEY=old\r\nB=2")
@example(b'SEGO_API_KEY=old\nLINES="one\nSEGO_API_KEY=old\nLINES="one\n')
@given(FILES)
def test_the_lines_of_others_stay_byte_for_byte_and_in_order(content: bytes) -> None:
    new = edited(content, {KEY: "sk-new", URL: "https://sego.pm"})
    assert others(new) == others(content)
    assert edited(new, {KEY: "sk-new", URL: "https://sego.pm"}) == new
    assert {n: parse(new.decode(errors="replace")).get(n) for n in (KEY, URL)} == {
        KEY: "sk-new",
        URL: "https://sego.pm",
    }
    if content and not content.endswith((b"\n", b"\r")):
        assert not new.endswith((b"\n", b"\r"))


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
        lambda v: v.isprintable() and v == v.strip()
    )
)
def test_every_value_is_read_again_as_it_was(value: str) -> None:
    assert parse(edited(b"", {"SEGO_WORKING_DIR": value}).decode()) == {"SEGO_WORKING_DIR": value}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"SEGO_API_KEY=k\n"),
        (b"A=1", b"A=1\nSEGO_API_KEY=k"),
        (b"A=1\r\n", b"A=1\r\nSEGO_API_KEY=k\r\n"),
        (b"A=1\r\nB=2", b"A=1\r\nB=2\r\nSEGO_API_KEY=k"),
        (b"\xef\xbb\xbfSEGO_API_KEY=o\n", b"\xef\xbb\xbfSEGO_API_KEY=k\n"),
        (b"\xef\xbb\xbf", b"\xef\xbb\xbfSEGO_API_KEY=k\n"),
        (b"export SEGO_API_KEY=o\nB=2", b"export SEGO_API_KEY=k\nB=2"),
        (b"SEGO_API_KEY=o\nB=2\nSEGO_API_KEY=p\n", b"SEGO_API_KEY=k\nB=2\nSEGO_API_KEY=k\n"),
        (b'SEGO_API_KEY="k" # mine\n', b'SEGO_API_KEY="k" # mine\n'),
        (b'T="\nSEGO_API_KEY=o\n"\n', b'T="\nSEGO_API_KEY=o\n"\nSEGO_API_KEY=k\n'),
    ],
)
def test_a_key_is_put_where_it_stood_or_at_the_end(before: bytes, after: bytes) -> None:
    assert edited(before, {KEY: "k"}) == after


def test_the_file_is_its_owner_s_alone_and_written_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=1\n")
    file.chmod(0o644)
    assert write(tmp_path, {KEY: "k"})
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("A=1\nSEGO_API_KEY=k\n", 0o600)
    assert [p.name for p in tmp_path.iterdir()] == [".env"]
    before = file.stat()
    assert not write(tmp_path, {KEY: "k"})
    assert file.stat() == before
    file.chmod(0o640)
    assert write(tmp_path, {KEY: "k"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "secrets").write_text("A=1")
    (tmp_path / ".env").symlink_to("kept/secrets")
    write(tmp_path, {KEY: "k"})
    assert (tmp_path / ".env").is_symlink()
    assert (tmp_path / "kept" / "secrets").read_text() == "A=1\nSEGO_API_KEY=k"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigError):
        write(tmp_path, {KEY: "k"})


@pytest.mark.parametrize("value", ["a\nAUTO_PUSH=true", " a", "a\0", "a\x85b"])
def test_a_value_that_no_line_can_hold_changes_nothing(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write(tmp_path, {KEY: value})
    assert not (tmp_path / ".env").exists()


def test_our_name_inside_another_s_text_is_no_line_of_ours_for_who_reads_and_who_writes(tmp_path: Path) -> None:
    around = "A='\n'\nSEGO_API_KEY={}\nB=\"\nSEGO_API_KEY=x\n\"\n"
    (tmp_path / ".env").write_text(around.format("old\x0cSEGO_API_KEY=other"))
    assert write(tmp_path, {KEY: "k"})
    assert (tmp_path / ".env").read_text() == around.format("k")
    assert parse((tmp_path / ".env").read_text())[KEY] == "k"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@localhost", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("below", ["", "a b/[x]"])
def test_git_passes_the_file_by_and_is_told_once(tmp_path: Path, below: str) -> None:
    git(tmp_path, "init", "-q")
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, {KEY: "k"})
    write(folder, {KEY: "l"})
    assert git(tmp_path, "status", "--porcelain", "-uall") == ""
    assert (tmp_path / ".git/info/exclude").read_text().count(".env") == 1


def test_where_something_ignores_the_file_nothing_is_added(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".env*\n")
    write(tmp_path, {KEY: "k"})
    assert ".env" not in (tmp_path / ".git/info/exclude").read_text()


def test_a_file_that_git_tracks_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".env").write_text("A=1\n")
    git(tmp_path, "add", "-f", ".env")
    with pytest.raises(UsageError, match=r"git tracks .*git rm --cached"):
        write(tmp_path, {KEY: "k"})
    assert (tmp_path / ".env").read_text() == "A=1\n"
