"""The monitor's settings: which source stands above which, what `.env` may say, and what no monitor can run by."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from claudetm.bootstrap import dotenv
from claudetm.bootstrap.monitor import doubt
from claudetm.bootstrap.monitor_places import FOLDERS, find_places
from claudetm.bootstrap.monitor_settings import (
    CLI_KEY,
    VARIABLES,
    MonitorSettings,
    monitor_settings,
    refuse_unfit,
)
from claudetm.cli.monitor.banner import lines
from claudetm.errors import ConfigError, RepositoryError, UsageError
from claudetm.ports.source import Job, Mode

GIVEN: Mapping[str, tuple[str, Any]] = {
    "SEGO_API_KEY": ("sk-of-nobody-1234", "sk-of-nobody-1234"),
    "SEGO_API_URL": ("https://sego.example", "https://sego.example"),
    "SEGO_PROJECT_ID": ("p-7", "p-7"),
    "STREAM_PROGRESS": ("false", False),
    "CONVERSATION_ONLY": ("1", True),
    "AUTO_COMMIT": ("yes", True),
    "AUTO_PUSH": ("on", True),
    "USE_CLI_MODE": ("true", "path"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path) -> Iterator[Path]:
    """A folder to be in, with an environment of its own."""
    before, was = dict(os.environ), Path.cwd()
    for name in [n for n in os.environ if n in dotenv.NAMES or n.startswith("CLAUDETM_")]:
        del os.environ[name]
    os.environ.update(HOME=str(tmp_path / "home"), XDG_CONFIG_HOME=str(tmp_path / "config"))
    place = tmp_path / "here"
    place.mkdir()
    os.chdir(place)
    yield place
    os.chdir(was)
    os.environ.clear()
    os.environ.update(before)


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def repository(here: Path, *tracked: str) -> None:
    subprocess.run(["git", "init", "-q", str(here)], check=True, capture_output=True)
    if tracked:
        subprocess.run(["git", "-C", str(here), "add", "-f", *tracked], check=True, capture_output=True)


def value(settings: MonitorSettings, name: str) -> tuple[Any, str]:
    return settings.resolved[name], settings.origins[name]


@pytest.mark.parametrize("variable", GIVEN)
def test_each_variable_sets_its_value_from_the_environment_and_from_the_file(variable: str, here: Path) -> None:
    text, expected = GIVEN[variable]
    name = VARIABLES.get(variable, CLI_KEY)
    assert value(monitor_settings(), name)[1] == "default"
    write(here / ".env", f"{variable}={text}\n")
    assert value(monitor_settings(), name) == (expected, "file")
    if variable != "SEGO_API_KEY":  # that one is withdrawn before anything else happens
        write(here / ".env", f"{variable}=false\n")
        os.environ[variable] = text
        assert value(monitor_settings(), name) == (expected, "env")
    assert not (variable in os.environ and variable == "SEGO_API_KEY")


def test_nothing_of_the_file_reaches_the_environment(here: Path) -> None:
    write(here / ".env", "".join(f"{name}={text}\n" for name, (text, _) in GIVEN.items()) + "OTHER=1\n")
    before = dict(os.environ)
    monitor_settings()
    assert dict(os.environ) == before


def test_each_source_stands_above_the_next(here: Path, tmp_path: Path) -> None:
    name = "monitor.sego.project_id"
    write(tmp_path / "config" / "claudetm" / "config.json", '{"monitor": {"sego": {"project_id": "of-user"}}}')
    assert value(monitor_settings(), name) == ("of-user", "file")
    repository(here)
    write(here / ".claude-task-master" / "config.json", '{"monitor": {"sego": {"project_id": "of-repo"}}}')
    assert value(monitor_settings(), name) == ("of-repo", "file")
    write(here / ".env", "SEGO_PROJECT_ID=of-dotenv\n")
    assert value(monitor_settings(), name) == ("of-dotenv", "file")
    os.environ["SEGO_PROJECT_ID"] = "of-bare"
    assert value(monitor_settings(), name) == ("of-bare", "env")
    os.environ["CLAUDETM_MONITOR_SEGO_PROJECT_ID"] = "of-ours"
    assert value(monitor_settings(), name) == ("of-ours", "env")
    assert value(monitor_settings({name: "of-cli"}), name) == ("of-cli", "cli")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SEGO_PROJECT_ID=p-1", "p-1"),
        ("\ufeffSEGO_PROJECT_ID=p-1\r", "p-1"),
        ("export SEGO_PROJECT_ID=p-1   # the first", "p-1"),
        ("  SEGO_PROJECT_ID = 'p 1#x' # quoted", "p 1#x"),
        ('SEGO_PROJECT_ID="p \\"1\\""', 'p "1"'),
        ("SEGO_PROJECT_ID=p#1", "p#1"),
        ("SEGO_PROJECT_ID=p-0\nSEGO_PROJECT_ID=p-1", "p-1"),
        ("# SEGO_PROJECT_ID=p-1", None),
        ("SEGO_PROJECT_ID=", None),
        ('SEGO_PROJECT_ID=""', None),
        ("SEGO_PROJECT_ID=# nothing", None),
        ("ANTHROPIC_API_KEY=x\nnot a line\n=\n", None),
    ],
)
def test_lines_of_the_file_are_read_as_shells_read_theirs(line: str, expected: str | None, here: Path) -> None:
    (here / ".env").write_bytes(f"{line}\n".encode())
    assert dotenv.read(here).values.get("SEGO_PROJECT_ID") == expected
    assert set(dotenv.read(here).values) <= {"SEGO_PROJECT_ID"}


def test_a_file_that_is_no_file_too_large_or_locked_away_is_refused_in_one_sentence(here: Path) -> None:
    os.mkfifo(here / ".env")
    with pytest.raises(ConfigError, match="is not a regular file; move it away"):
        dotenv.read(here)
    (here / ".env").unlink()
    (here / ".env").write_bytes(b"#" * 70_000)
    with pytest.raises(ConfigError, match="is larger than 64 KiB; move it away"):
        dotenv.read(here)
    (here / ".env").unlink()
    (here / ".env").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        dotenv.read(here)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"A=1\nSEGO_API_KEY: sk-1\n", r"\.env:2: SEGO_API_KEY has no = behind it; write SEGO_API_KEY=value\."),
        (b"export SEGO_API_KEY sk-1\n", r"\.env:1: SEGO_API_KEY has no = behind it"),
        (b'SEGO_API_KEY="sk-1\n', r"\.env:1: SEGO_API_KEY begins with a quote that does not end"),
        ("SEGO_API_KEY=sk-1\n".encode("utf-16"), r"\.env is written in UTF-16; save it in UTF-8\."),
    ],
)
def test_a_line_that_cannot_be_meant_is_said_as_the_key_would_just_be_missing(
    content: bytes, sentence: str, here: Path
) -> None:
    (here / ".env").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as refused:
        dotenv.read(here)
    assert "sk-1" not in str(refused.value)


def test_without_a_repository_no_task_is_taken_that_could_name_none(here: Path) -> None:
    said = doubt(monitor_settings())
    assert said.endswith("go to one. Until then only tasks that name a `repository` can be worked.")
    with pytest.raises(RepositoryError, match="is not in a git repository: run git init"):
        doubt(monitor_settings({"monitor.source": ["sego"], "monitor.sego.api_key": "sk-1"}))
    repository(here)
    assert "has no commits yet: make a first one" in doubt(monitor_settings())


def test_a_key_in_a_file_that_others_can_read_is_told(here: Path) -> None:
    write(here / ".env", "SEGO_API_KEY=sk-of-nobody-1234\n", 0o644)
    assert [n for n in monitor_settings().notes if "chmod 600" in n]
    (here / ".env").chmod(0o600)
    assert monitor_settings().notes == ()


def test_a_tracked_file_is_a_stranger_s_word(here: Path) -> None:
    write(here / ".env", "SEGO_API_URL=https://thief.example\nSEGO_WORKING_DIR=..\n")
    repository(here, ".env")
    settings = monitor_settings()
    assert settings.sego.api_url == "https://sego.pm"
    assert settings.places.here == here.resolve()
    assert [n for n in settings.notes if "is ignored, because git tracks it" in n]
    assert monitor_settings({"trust_project_settings": True}).sego.api_url == "https://thief.example"


def test_sego_is_the_source_where_anything_of_it_is_set(here: Path) -> None:
    assert monitor_settings().sources == ("directory",)
    assert monitor_settings({"monitor.sego.sse": False}).sources == ("sego",)
    assert monitor_settings({"monitor.sego.sse": False, "monitor.source": "github,directory"}).sources == (
        "github",
        "directory",
    )
    write(here / ".env", "SEGO_PROJECT_ID=p-1\n")
    assert monitor_settings().sources == ("sego",)
    write(here / ".env", "AUTO_COMMIT=true\n")
    assert monitor_settings().sources == ("directory",)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"monitor.auto_push": True}, "--auto-push needs --auto-commit"),
        (
            {"monitor.source": "sego"},
            "API key is required: set SEGO_API_KEY, give --api-key, .*env.*monitor init`",
        ),
        (
            {"monitor.sego.conversation_only": True, "monitor.sego.api_key": "k-12345678"},
            "--conversation-only",
        ),
        (
            {"monitor.sego.api_url": "http://sego.pm", "monitor.sego.api_key": "k-12345678"},
            "API key over the network unencrypted",
        ),
    ],
)
def test_what_no_monitor_can_run_by_is_one_sentence(flags: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        refuse_unfit(monitor_settings(flags))


def test_plain_http_goes_to_this_machine_alone() -> None:
    key = {"monitor.sego.api_key": "k-12345678"}
    for url in ("http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://sego.pm"):
        refuse_unfit(monitor_settings({**key, "monitor.sego.api_url": url}))
    for url in ("http://127.0.0.1.evil.example", "http://localhost@evil.example", "http://10.0.0.1"):
        with pytest.raises(ConfigError):
            refuse_unfit(monitor_settings({**key, "monitor.sego.api_url": url}))


def test_unusable_values_name_the_variable() -> None:
    for name in ("AUTO_COMMIT", "USE_CLI_MODE"):
        os.environ[name] = "perhaps"
        with pytest.raises(ConfigError, match=f"{name} .*must be true or false"):
            monitor_settings()
        del os.environ[name]


def test_times_are_minutes_or_as_they_say() -> None:
    of = {"monitor.timeout": "90s", "monitor.client_request_timeout": "3", "monitor.poll": "5"}
    settings = monitor_settings(of)
    assert (settings.timeout, settings.client_request_timeout, settings.poll) == (90.0, 180.0, 5.0)
    minutes = "limits.session_minutes"
    assert settings.job_settings("directory", Mode.GOAL)[minutes] == "90.000s"
    assert settings.job_settings("sego", Mode.QUESTION)[minutes] == "180.000s"
    plain = monitor_settings()
    assert minutes not in plain.job_settings("directory", Mode.GOAL)
    assert plain.job_settings("sego", Mode.SESSION)[minutes] == "600.000s"
    assert plain.job_settings("sego", Mode.QUESTION)[minutes] == "120.000s"


def shown(**flags: Any) -> dict[str, str]:
    """Return what the banner says of modes and times."""
    said = [line.split(maxsplit=1) for line in lines(monitor_settings(flags), "1.0")]
    return {name: " ".join(value.split()) for name, value in said if name.partition(".")[0] in {"mode", "timeout"}}


def test_the_banner_says_the_mode_and_the_time_that_hold_for_each_source(here: Path) -> None:
    repository(here)
    key, sego = {"monitor.sego.api_key": "k-12345678"}, {"mode": "session [default]", "timeout": "10 min [default]"}
    assert shown(**key) == sego
    assert shown() == {"mode": "goal [default]", "timeout": "60 min [default]"}
    os.environ["CLAUDETM_LIMITS_SESSION_MINUTES"] = "45"
    assert shown() == {"mode": "goal [default]", "timeout": "45 min [env]"}
    assert shown(**key) == sego
    assert shown(**key, **{"monitor.source": "sego,directory"}) == {
        "mode.sego": "session [default]",
        "mode.directory": "goal [default]",
        "timeout.sego": "10 min [default]",
        "timeout.directory": "45 min [env]",
    }
    said = {**key, "monitor.source": "sego,directory", "monitor.mode": "session", "monitor.timeout": "90s"}
    assert shown(**said) == {"mode": "session [cli]", "timeout": "1.5 min [cli]"}


def test_what_a_task_says_itself_stands_above() -> None:
    settings = monitor_settings({"monitor.timeout": "5", "monitor.auto_commit": True})
    job = settings.equipped(Job("t", "directory", "Do it", settings={"limits.session_minutes": 7}))
    assert (job.settings["limits.session_minutes"], job.settings["monitor.auto_commit"]) == (7, True)


def test_a_mode_is_the_source_s_own_unless_one_is_said() -> None:
    plain, said = monitor_settings(), monitor_settings({"monitor.mode": "session"})
    assert [plain.mode_of(s) for s in ("directory", "github", "sego")] == [Mode.GOAL, Mode.GOAL, Mode.SESSION]
    assert {said.mode_of(s) for s in ("directory", "github", "sego")} == {Mode.SESSION}


def test_the_monitor_works_where_it_is_told_to(here: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    assert find_places().here == here
    write(here / ".env", f"SEGO_WORKING_DIR={tmp_path / 'a'}\n")
    assert find_places().here == tmp_path / "a"
    os.environ["SEGO_WORKING_DIR"] = str(tmp_path / "b")
    assert find_places().here == tmp_path / "b"
    assert find_places(Path("../c")).here == tmp_path / "c"
    assert monitor_settings(where=Path("../c")).places == find_places(Path("../c"))
    with pytest.raises(UsageError, match="is no folder that the monitor could work in"):
        find_places(Path("nowhere"))


def test_folders_are_made_private_where_they_hold_state_and_hidden_from_git(here: Path) -> None:
    repository(here)
    found = find_places()
    for _ in range(2):
        found.create()
    assert [p.name for p in (found.tasks, found.results, found.logs, found.state)] == list(FOLDERS)
    assert {found.state.stat().st_mode & 0o777, found.logs.stat().st_mode & 0o777} == {0o700}
    excluded = (here / ".git" / "info" / "exclude").read_text(encoding="utf-8").splitlines()
    assert [line for line in excluded if line.startswith("/")] == ["/tasks/", "/results/", "/logs/", "/state/"]


def test_a_folder_that_git_tracks_is_not_hidden_from_it(here: Path) -> None:
    write(here / "logs" / "kept.txt", "x")
    (here / "odd*[dir]").mkdir()
    os.environ["CLAUDETM_MONITOR_TASKS_DIR"] = "odd*[dir]"
    repository(here, "logs/kept.txt")
    find_places().create()
    excluded = (here / ".git" / "info" / "exclude").read_text(encoding="utf-8").splitlines()
    assert "/logs/" not in excluded
    (here / "odd*[dir]" / "task-1.md").touch()
    status = subprocess.run(["git", "-C", str(here), "status", "--short"], capture_output=True, text=True, check=True)
    assert status.stdout.split() == ["A", "logs/kept.txt"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_of_another_kind_is_written_over(folder: str, here: Path) -> None:
    write(here / folder, "mine")
    with pytest.raises(UsageError, match=f"/{folder} is no folder, and the monitor needs one there"):
        find_places().create()
    assert (here / folder).read_text(encoding="utf-8") == "mine"


def test_state_behind_a_link_is_refused(here: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (here / "state").symlink_to(tmp_path / "else")
    with pytest.raises(UsageError, match="is a link, so the monitor's state could lie anywhere"):
        find_places().create()
    assert list((tmp_path / "else").iterdir()) == []


def test_a_second_monitor_has_its_own_state_in_the_same_folder(here: Path) -> None:
    one, other = find_places(), find_places(name="night")
    other.create()
    assert (one.tasks, one.results) == (other.tasks, other.results)
    assert other.state == here / "state" / "night"
    assert (here / "state").stat().st_mode & 0o777 == 0o700
    assert one.lock != other.lock
    assert one.log != other.log
    for name in ("../x", "inbox", "-x", "a/b", "x" * 41):
        with pytest.raises(ConfigError, match="--name"):
            find_places(name=name)


def test_a_tracked_configuration_cannot_say_where_the_folders_are(here: Path) -> None:
    write(here / ".claude-task-master" / "config.json", '{"monitor": {"tasks_dir": "/etc"}}')
    repository(here, ".claude-task-master/config.json")
    assert find_places().tasks == here / "tasks"
    repository(here)
    subprocess.run(["git", "-C", str(here), "rm", "-q", "-r", "--cached", "."], check=True, capture_output=True)
    assert find_places().tasks == Path("/etc")
