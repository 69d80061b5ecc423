"""What a service is described by: units that systemd accepts, lists that plistlib reads, variables unharmed."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from claudetm.adapters.dispatch.processes import GRACE
from claudetm.adapters.service import environment_file
from claudetm.adapters.service.described import MARGIN_SECONDS, NAME, Service
from claudetm.adapters.service.launchd import Launchd
from claudetm.adapters.service.notify import Notifier, notifier
from claudetm.adapters.service.systemd import Systemd
from claudetm.bootstrap.monitor import STOPPING
from claudetm.cli.exit_codes import ExitCode
from claudetm.errors import UsageError

HOSTILE = [
    "plain",
    "a b",
    "100%",
    "%h %n",
    'say "so"',
    "it's",
    "$HOME ${X}",
    "back\\slash",
    "star*[a]?",
    "ünï ✓",
    "a;b#c",
]
NASTY = "q\"uo'te $HOME ${X} \\ back\\n `id` %h 100% # no comment ; = é\ttab\nand a line\n\n  and $(one) more\\"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


def service(folder: Path, **other: object) -> Service:
    (folder / "py thon").write_text("#!/bin/sh\n")
    (folder / "py thon").chmod(0o755)
    program = (str(folder / "py thon"), "-m", "claudetm", "monitor", "--poll", "10")
    found = Service(NAME, program, folder, folder / "variables.env", grace=60.0)
    return replace(found, **other)  # type: ignore[arg-type]


def verified(folder: Path, unit: str, name: str = NAME) -> str:
    """Return what systemd says of a unit, "" where it has nothing against it."""
    file = folder / f"{name}.service"
    file.write_text(unit, encoding="utf-8")
    command = ["systemd-analyze", "--user", "--man=no", "verify", str(file)]
    # a short path: systemd complains of sockets of other programs whose addresses would be too long in it
    with tempfile.TemporaryDirectory() as runtime:
        environment = {**os.environ, "XDG_RUNTIME_DIR": runtime, "LC_ALL": "C"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


@needs_systemd
@pytest.mark.parametrize("name", HOSTILE)
def test_systemd_accepts_a_unit_that_works_in_any_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    assert verified(tmp_path, Systemd(NAME).text(service(folder))) == ""


@needs_systemd
@pytest.mark.parametrize("name", [n for n in HOSTILE if not set(n) & set("\"'\\")])
def test_systemd_finds_the_program_where_it_is(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    unit = Systemd(NAME).text(service(folder))
    (folder / "py thon").unlink()
    assert f"Command {folder / 'py thon'} is not executable" in verified(tmp_path, unit)


def test_where_systemd_executes_nothing_a_shell_does(tmp_path: Path) -> None:
    folder = tmp_path / "it's $\\x"
    folder.mkdir()
    line = next(x for x in Systemd(NAME).text(service(folder)).splitlines() if "ExecStart" in x)
    words = shlex.split(line.removeprefix("ExecStart=").replace("$$", "$"))
    (folder / "py thon").write_text('#!/bin/sh\necho "$*"\n')
    assert (
        subprocess.run(words, capture_output=True, text=True, check=True).stdout == "-m claudetm monitor --poll 10\n"
    )


@needs_systemd
def test_a_unit_with_a_mistake_is_found(tmp_path: Path) -> None:
    unit = Systemd(NAME).text(service(tmp_path))
    assert "'Restrat'" in verified(tmp_path, unit.replace("Restart=", "Restrat="))


def test_a_unit_is_restarted_watched_and_stopped_with_time_for_its_tasks(tmp_path: Path) -> None:
    lines = Systemd(NAME).text(service(tmp_path, grace=90.0)).splitlines()
    wanted = {"Type=notify", "Restart=on-failure", "KillMode=process", "WatchdogSec=180", "WantedBy=default.target"}
    assert wanted <= set(lines)
    assert f"TimeoutStopSec={90 + MARGIN_SECONDS}" in lines
    assert f"EnvironmentFile={tmp_path}/variables.env" in lines
    assert not [line for line in lines if line.startswith("User=")]


def test_workers_have_ended_before_the_monitor_that_stops_is_killed() -> None:
    assert GRACE + 10 < STOPPING < MARGIN_SECONDS


def test_what_a_person_has_to_mend_is_not_begun_again_and_all_else_is(tmp_path: Path) -> None:
    lines = Systemd(NAME).text(service(tmp_path)).splitlines()
    wanted = {"Restart=on-failure", "RestartSec=30", f"RestartPreventExitStatus={ExitCode.FAILED:d}"}
    assert {*wanted, f"SuccessExitStatus={ExitCode.STOPPED:d}", "StartLimitIntervalSec=0"} <= set(lines)


@needs_systemd
def test_a_unit_of_the_machine_says_whose_it_is_and_waits_for_the_network(tmp_path: Path) -> None:
    unit = Systemd(NAME, system=True).text(service(tmp_path, user="root"))
    assert {"User=root", "WantedBy=multi-user.target", "After=network-online.target"} <= set(unit.splitlines())
    assert verified(tmp_path, unit) == ""


def test_words_for_the_monitor_are_no_variables_or_specifiers_of_systemd_s(tmp_path: Path) -> None:
    found = service(tmp_path)
    program = (*found.program, "--label", "a b", "$HOME", "50%", 'x"y')
    line = next(x for x in Systemd(NAME).text(replace(found, program=program)).splitlines() if "ExecStart" in x)
    assert line.endswith('--label "a b" "$$HOME" "50%%" "x\\"y"')


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", " blank", "end\\", "\udcff"])
@pytest.mark.parametrize("manager", [Systemd(NAME), Launchd(NAME)])
def test_a_folder_that_no_line_can_hold_is_refused(tmp_path: Path, name: str, manager: Systemd | Launchd) -> None:
    found = replace(service(tmp_path), folder=Path(f"{tmp_path}/x{name}" if name[0] != " " else f" {tmp_path}"))
    with pytest.raises(UsageError, match="rename that folder"):
        manager.text(found)


@pytest.mark.parametrize("name", [*HOSTILE, "<&>"])
def test_a_property_list_reads_the_variables_then_becomes_the_monitor(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    found = service(folder)
    text = Launchd(NAME).text(found)
    listed = plistlib.loads(text.encode())
    assert (listed["Label"], listed["WorkingDirectory"], listed["RunAtLoad"]) == (NAME, str(folder), True)
    assert listed["KeepAlive"] == {"SuccessfulExit": False}
    assert listed["ProgramArguments"][3:] == [str(found.variables), *found.program]
    assert "UserName" not in listed
    assert plistlib.loads(Launchd(NAME, system=True).text(replace(found, user="me")).encode())["UserName"] == "me"
    found.variables.write_text(environment_file.text({"SAID": NASTY}))
    (folder / "py thon").write_text('#!/bin/sh\nprintf %s "$SAID"; echo "|$*"\n')
    said = subprocess.run(listed["ProgramArguments"], capture_output=True, text=True, check=True).stdout
    assert said == f"{NASTY}|-m claudetm monitor --poll 10\n"


@example({"X": NASTY, "EMPTY": ""})
@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True).map("V_{}".format), VALUES, max_size=4))
@settings(deadline=None, max_examples=25)
def test_a_shell_reads_every_variable_as_it_was(variables: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        file.write_bytes(environment_file.text(variables).encode())
        script = ["/bin/sh", "-c", 'set -a; . "$0"; exec env -0', str(file)]
        out = subprocess.run(script, env={}, capture_output=True, check=True).stdout
    found = dict(line.split("=", 1) for line in out.decode().split("\0") if line)
    assert {n: v for n, v in found.items() if n.startswith("V_") or n in variables} == variables


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is not installed")
@example(NASTY)
@given(VALUES.filter(lambda v: v != ""))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])
def test_systemd_reads_every_variable_as_it_was(value: str) -> None:
    """os-release is read by the same parser of systemd's as environment files are, and its values can be had back."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "etc").mkdir()
        (Path(folder) / "etc/os-release").write_bytes(environment_file.text({"BUILD_ID": value}).encode())
        (Path(folder) / "rule.conf").write_text("f+ /said - - - - %B\n")
        command = ["systemd-tmpfiles", f"--root={folder}", "--create", f"{folder}/rule.conf"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (Path(folder) / "said").read_bytes().decode() == value


@pytest.mark.parametrize("name", ["", "A-B", "1A", "A B", "A\n", "É"])
def test_what_cannot_name_a_variable_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a variable"):
        environment_file.text({name: "x"})


def test_a_value_that_is_not_utf_8_is_refused_by_its_name_alone() -> None:
    with pytest.raises(UsageError, match="The variable X is not UTF-8") as refused:
        environment_file.text({"X": "secret\udcff"})
    assert "secret" not in str(refused.value)


@given(st.dictionaries(st.sampled_from("ABC"), VALUES))
def test_a_file_of_ours_is_read_again_as_it_was_written(variables: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        assert environment_file.read(file) == {}
        file.write_bytes(environment_file.text(variables).encode())
        assert environment_file.read(file) == variables


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_hears_that_it_is_ready_alive_and_stopping(tmp_path: Path, *, abstract: bool) -> None:
    name = f"claudetm-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with heard:
        heard.bind(f"\0{name}" if abstract else name)
        heard.settimeout(5)
        environment = {"NOTIFY_SOCKET": f"@{name}" if abstract else name, "WATCHDOG_USEC": "180000000", "OTHER": "1"}
        tell = notifier(environment)
        assert environment == {"OTHER": "1"}
        assert tell.seconds == 90.0
        tell.ready("takes tasks")
        tell.alive()
        tell.status("two\nlines")
        tell.stopping()
        said = [heard.recv(1000).decode() for _ in range(4)]
    assert said == ["READY=1\nSTATUS=takes tasks", "WATCHDOG=1", "STATUS=two lines", "STOPPING=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "5"}])
def test_without_a_manager_nothing_is_told(environment: dict[str, str]) -> None:
    tell = notifier(environment)
    tell.ready()
    tell.alive()
    assert tell == Notifier()


def test_a_watch_on_another_process_is_not_ours() -> None:
    tell = notifier({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "10", "WATCHDOG_PID": "1"})
    assert tell.seconds is None
    tell.ready()  # nobody listens there, and nothing is raised


LAUNCHCTL = """#!/bin/sh
here="$(dirname "$0")"; echo "$*" >> "$here/told.txt"
case "$1" in
  print) [ "$2" = "${2%/claudetm-monitor}" ] && exit 0
     [ -e "$here/loaded" ] || { echo "Could not find service" >&2; exit 113; }
     printf 'gui/0/claudetm-monitor = {\\n\\tpath = %s\\n\\tstate = running\\n' "$(cat "$here/loaded")"
     printf '\\truns = 3\\n\\tpid = 4711\\n\\tlast exit code = 1\\n}\\n' ;;
  bootstrap) echo "$3" > "$here/loaded" ;;
  bootout) rm "$here/loaded" ;;
esac
"""


def test_launchd_is_told_to_take_it_in_and_out_and_says_how_it_stands(tmp_path: Path) -> None:
    (tmp_path / "launchctl").write_text(LAUNCHCTL)
    (tmp_path / "launchctl").chmod(0o755)
    steps = """
from pathlib import Path
from claudetm.adapters.service.described import Service
from claudetm.adapters.service.launchd import Launchd
manager = Launchd("claudetm-monitor", pause=lambda seconds: None)
manager.refuse_absent()
assert manager.described() is None
assert manager.standing().pid == 0 and not manager.standing().installed
manager.file.parent.mkdir(parents=True)
manager.file.write_text(manager.text(Service("claudetm-monitor", ("/bin/true",), Path.home(), Path("/v"), 60.0)))
assert manager.works_in() == Path.home()
manager.taken_up()
manager.restart()
assert manager.described() == manager.file
standing = manager.standing()
assert (standing.pid, standing.restarts, standing.detail) == (4711, 2, "last exit code 1"), standing
manager.start()
manager.stop()
manager.stop()
manager.start()
manager.forgotten()
assert manager.logs(5, follow=True) == ["tail", "-n", "5", "-F", str(Path.home() / "logs/service.log")]
"""
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", steps], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = [line.split()[0] for line in (tmp_path / "told.txt").read_text().splitlines() if "print" not in line]
    assert told == ["enable", "bootstrap", "bootout", "bootstrap", "bootout"]
