"""Setting the monitor up, through the real entry point: the wizard at a terminal, `--yes`, and the service."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from claudetm.adapters.sources.task_document import Document, parse
from github_double.double import Double
from terminal import CLAUDETM, Terminal, bytes_of, terminal, wait_for

pytestmark = pytest.mark.e2e

SKILL = Path(__file__).parents[2] / "src/claudetm/skills/setup-task-monitor/SKILL.md"
SECRET = "sk-\"$ecret'%h`id`\\\\n"

STUB = """#!/bin/sh
# A manager that remembers what it was told, in the words of the real one.
tell="$(dirname "$0")/told.txt"; state="$(dirname "$0")/state"
printf '%s' "$(basename "$0")" >> "$tell"; for a in "$@"; do printf ' [%s]' "$a" >> "$tell"; done; echo >> "$tell"
[ -e "$(dirname "$0")/absent" ] && { echo "Failed to connect to bus: No medium found" >&2; exit 1; }
active=inactive; [ -e "$state" ] && active=$(cat "$state")
case "$*" in
  *enable-linger*) touch "$(dirname "$0")/lingers" ;;
  *show-user*) [ -e "$(dirname "$0")/lingers" ] && echo Linger=yes || echo Linger=no ;;
  *show*--property=Version*) echo Version=252 ;;
  *show*) echo "LoadState=loaded"; echo "FragmentPath=$(cat "$(dirname "$0")/fragment" 2>/dev/null)"
     echo "ActiveState=$active"; echo "SubState=running"; echo "MainPID=4711"; echo "NRestarts=2"
     echo "StatusText=2 tasks wait"; echo "UnitFileState=enabled"; echo "Result=success" ;;
  *restart*|*" start "*) [ -e "$(dirname "$0")/fails" ] && { echo "Job failed." >&2; exit 1; }
     echo active > "$state" ;;
  *disable*|*" stop "*) echo inactive > "$state" ;;
  *--lines*) echo "what the service said" ;;
esac
"""


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    found = terminal(tmp_path)
    found.extra["ANTHROPIC_API_KEY"] = SECRET
    folder = tmp_path / "managers"
    folder.mkdir()
    for name in ("systemctl", "journalctl", "loginctl"):
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    found.extra["PATH"] = f"{folder}:{CLAUDETM.parent}:{os.environ['PATH']}"
    return found


def managers(person: Terminal) -> Path:
    return person.here.parent / "managers"


def told(person: Terminal) -> str:
    file = managers(person) / "told.txt"
    return file.read_text() if file.exists() else ""


def unit(person: Terminal, name: str = "claudetm-monitor") -> Path:
    return person.home / "config/systemd/user" / f"{name}.service"


def variables(person: Terminal, name: str = "claudetm-monitor") -> Path:
    return person.home / "config/claudetm" / f"{name}.env"


def talk(
    person: Terminal, arguments: Sequence[str], answers: Sequence[tuple[str, str]], **extra: str
) -> tuple[str, int]:
    """Run a command at a terminal of its own; type each answer once its question stands there."""
    child, terminal_end = pty.fork()
    if child == 0:
        os.chdir(person.here)
        os.execve(CLAUDETM, [str(CLAUDETM), *arguments], {**person.environment, **extra, "TERM": "dumb"})
    seen, left, until = "", list(answers), time.monotonic() + 45
    said_from, typed, at = 0, "", 0.0
    while time.monotonic() < until:
        if select.select([terminal_end], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal_end, 4096).decode(errors="replace")
            except OSError:
                break
        if left and left[0][0] in seen[said_from:] and seen.endswith(" "):  # a prompt's last sign is written last
            said_from, typed, at = len(seen), left.pop(0)[1], time.monotonic()
            os.write(terminal_end, typed.encode())
        elif typed == "\x03" and time.monotonic() > at + 1:  # between the prompt and the read Python loses one
            os.write(terminal_end, typed.encode())
            at = time.monotonic()
    os.close(terminal_end)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert not left, f"never asked {left[0][0]!r}: {seen}"
    return seen.replace("\r\n", "\n"), code


# --- init ----------------------------------------------------------------------------------------------------


def test_a_directory_is_set_up_without_a_question_and_again_without_a_change(person: Terminal) -> None:
    done = person("monitor", "init", "--source", "directory", "--yes", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    data = json.loads(done.stdout)
    assert (data["setup_complete"], data["status"], data["sources"]) == (True, "ready", ["directory"])
    made = [str(person.here / name) for name in ("tasks", "results", "logs", "state", "tasks/example.md")]
    assert data["components_created"] == made
    assert data["service_type"] in {"systemd", "none", "launchd"}
    assert person.git("status", "--porcelain") == ""
    before = bytes_of(person.here, person.home)
    again = person("monitor", "init", "--source", "directory", "--yes", "--json")
    assert json.loads(again.stdout)["components_created"] == []
    assert bytes_of(person.here, person.home) == before


def test_the_example_is_a_task_document_and_no_task(person: Terminal) -> None:
    assert person("monitor", "init", "--yes").returncode == 0
    example = person.here / "tasks/example.md"
    assert isinstance(parse(example.read_bytes()), Document)
    example.write_text("mine")
    assert person("monitor", "init", "--yes").returncode == 0
    assert example.read_text() == "mine"


def test_without_a_terminal_and_without_yes_it_says_one_sentence_and_makes_nothing(person: Terminal) -> None:
    before = bytes_of(person.here)
    done = person("monitor", "init")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("claudetm: Nobody can be asked here: give --yes")
    assert bytes_of(person.here) == before


def test_another_folder_is_set_up_where_it_is_named(person: Terminal) -> None:
    (person.here / "a b").mkdir()
    done = person("monitor", "init", "--yes", "--working-dir", "a b")
    assert done.returncode == 0, done
    assert (person.here / "a b/tasks/example.md").exists()
    assert not (person.here / "tasks").exists()
    assert person.git("status", "--porcelain") == ""


def test_the_wizard_asks_for_the_source(person: Terminal) -> None:
    seen, code = talk(person, ["monitor", "init"], [("Where do tasks come from?", "directory\n")])
    assert code == 0, seen
    assert f"made {person.here}/tasks" in seen
    assert "next: claudetm monitor" in seen


def test_ctrl_c_at_a_question_leaves_nothing(person: Terminal) -> None:
    before = bytes_of(person.here)
    seen, code = talk(person, ["monitor", "init"], [("Where do tasks come from?", "\x03")])
    assert (code, "interrupted" in seen) == (1, True), seen
    assert bytes_of(person.here) == before


def test_an_unknown_source_is_named(person: Terminal) -> None:
    done = person("monitor", "init", "--yes", "--source", "jira")
    assert (done.returncode, done.stderr) == (1, "claudetm: There is no source jira: use directory, github or sego\n")


def test_issues_need_a_remote_on_github(person: Terminal) -> None:
    done = person("monitor", "init", "--yes", "--source", "github")
    assert done.returncode == 1
    assert "No remote here is known to be on GitHub" in done.stderr
    assert not (person.here / "tasks").exists()


def test_what_differs_from_the_default_is_written_to_the_configuration(person: Terminal) -> None:
    (person.here / ".env").write_text("SEGO_PROJECT_ID=p1\n")
    assert person("monitor", "init", "--yes", "--source", "directory").returncode == 0
    assert json.loads((person.state / "config.json").read_text())["monitor"]["source"] == ["directory"]


# --- Sego PM -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sego:
    """A server that runs, and a key that it takes."""

    url: str
    key: str


@pytest.fixture
def sego(person: Terminal) -> Iterator[Sego]:
    process = person.begin("monitor", "sego", "sandbox", "--port", "0")
    pattern = r"SEGO_API_URL=(\S+) SEGO_API_KEY=(\S+)"
    try:
        yield Sego(*wait_for(lambda: re.search(pattern, person.output()), "a Sego server").groups())
    finally:
        process.terminate()
        process.wait()


def test_the_wizard_takes_no_key_but_one_that_the_server_takes_and_shows_none(person: Terminal, sego: Sego) -> None:
    (person.here / ".env").write_bytes(b"# mine\r\nOTHER='a b'")
    answers = [
        ("Where do tasks come from?", "sego\n"),
        ("Where does Sego PM answer?", f"{sego.url}\n"),
        ("\r\nAPI key: ", "sk-wrong\n"),
        ("\r\nAPI key: ", f"{sego.key}\n"),
        ("Which project?", "7\n"),
        ("Which project?", "2\n"),
    ]
    seen, code = talk(person, ["monitor", "init"], answers)
    assert code == 0, seen
    assert "Sego refuses the API key" in seen
    assert "There is no project 7 in the list" in seen
    assert "  1  Greetings (demo), auto-task from 0.85" in seen
    assert "auto-task is off in Quiet: `claudetm monitor sego enable` turns it on" in seen
    assert sego.key not in seen
    assert "sk-wrong" not in seen
    written = f"\r\nSEGO_API_KEY={sego.key}\r\nSEGO_API_URL={sego.url}\r\nSEGO_PROJECT_ID=quiet"
    assert (person.here / ".env").read_bytes() == b"# mine\r\nOTHER='a b'" + written.encode()
    assert stat.S_IMODE((person.here / ".env").stat().st_mode) == 0o600
    assert person.git("status", "--porcelain") == ""
    again = [*answers[:1], ("answer?", "\n"), ("Enter keeps the one that is set): ", "\n"), ("Which project?", "\n")]
    before = (person.here / ".env").stat()
    assert talk(person, ["monitor", "init"], again)[1] == 0
    assert (person.here / ".env").stat() == before
    person("monitor", "service", "install", "--yes", SEGO_API_KEY="sk-revoked")
    anew = [*again[:2], ("Enter keeps the one that is set): ", f"{sego.key}\n"), ("Which project?", "\n")]
    seen, _ = talk(person, ["monitor", "init"], anew, SEGO_API_KEY="sk-older")
    assert "SEGO_API_KEY is set in the environment to something else, which goes before `.env`" in seen
    assert "the service has another SEGO_API_KEY, which goes before `.env`" in seen


def test_ctrl_c_after_the_key_leaves_no_file(person: Terminal, sego: Sego) -> None:
    before = bytes_of(person.here)
    questions = [("API key: ", f"{sego.key}\n"), ("Which project?", "\x03")]
    wizard = ["monitor", "init", "--source", "sego", "--api-url", sego.url]
    assert talk(person, wizard, questions)[1] == 1
    assert bytes_of(person.here) == before


def test_variables_and_options_are_enough(person: Terminal, sego: Sego) -> None:
    init = ("monitor", "init", "--source", "sego", "--yes", "--json", "--api-url", sego.url)
    done = person(*init, "--project-id", "demo", SEGO_API_KEY=sego.key)
    assert done.returncode == 0, done
    assert sego.key not in done.stdout + done.stderr
    assert str(person.here / ".env") in json.loads(done.stdout)["components_created"]
    assert f"SEGO_API_KEY={sego.key}\n" in (person.here / ".env").read_text()
    listed = person("monitor", "init", "--yes", "--json")  # by what .env says now
    assert (listed.returncode, json.loads(listed.stdout)["sources"]) == (0, ["sego"])


def test_a_refused_key_an_unreachable_server_and_a_wrong_project_are_three_sentences(
    person: Terminal, sego: Sego
) -> None:
    before = bytes_of(person.here)
    init = ("monitor", "init", "--source", "sego", "--yes")
    refused = person(*init, "--api-url", sego.url, SEGO_API_KEY="sk-wrong").stderr
    nobody = person(*init, "--api-url", "http://127.0.0.1:9", SEGO_API_KEY=sego.key).stderr
    project = person(*init, "--api-url", sego.url, "--project-id", "gone", SEGO_API_KEY=sego.key).stderr
    assert refused.startswith("claudetm: Sego refuses the API key")
    assert nobody.startswith("claudetm: Sego cannot be reached at http://127.0.0.1:9")
    assert project.startswith("claudetm: There is no project gone at ")
    assert "(there: demo, quiet)" in project
    assert person(*init).stderr.startswith("claudetm: API key is required: set SEGO_API_KEY")
    plain = person(*init, "--api-url", "http://sego.example.org", SEGO_API_KEY=sego.key).stderr
    assert "unencrypted" in plain
    assert bytes_of(person.here) == before


def test_a_key_goes_into_no_file_that_git_tracks(person: Terminal, sego: Sego) -> None:
    (person.here / ".env").write_text("OTHER=1\n")
    person.git("add", "-f", ".env")
    done = person("monitor", "init", "--source", "sego", "--yes", "--api-url", sego.url, SEGO_API_KEY=sego.key)
    assert (done.returncode, "so a key in it would be committed: `git rm --cached .env`" in done.stderr) == (1, True)
    assert (person.here / ".env").read_text() == "OTHER=1\n"
    assert not (person.here / "tasks").exists()


# --- GitHub issues -------------------------------------------------------------------------------------------


@pytest.fixture
def github(person: Terminal, tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "github") as double:
        double.create_repository("acme/widgets", {"README.md": "hello\n"}, people={"octo": "write", "eve": "read"})
        person.git("remote", "add", "origin", double.url())
        person.extra |= {"GH_TOKEN": double.token("octo"), "GITHUB_API_URL": double.api}
        yield double


@pytest.mark.usefixtures("github")
def test_the_label_that_makes_an_issue_a_task_is_made(person: Terminal) -> None:
    init = ("monitor", "init", "--source", "github", "--yes", "--json")
    done = person(*init)
    assert done.returncode == 0, done
    assert "label claudetm of acme/widgets" in json.loads(done.stdout)["components_created"]
    assert json.loads((person.state / "config.json").read_text())["monitor"]["source"] == ["github"]
    assert json.loads(person(*init).stdout)["components_created"] == []


@pytest.mark.usefixtures("github")
def test_the_label_is_asked_for_and_nothing_is_made_at_github_after_a_no(person: Terminal) -> None:
    answers = [("Where do tasks come from?", "github\n"), ("has no label claudetm. Make it?", "n\n")]
    seen, code = talk(person, ["monitor", "init"], answers)
    assert (code, "no issue can be a task without it" in seen) == (0, True), seen
    asked = talk(person, ["monitor", "init", "--source", "github"], [("has no label claudetm. Make it?", "y\n")])
    assert "made label claudetm of acme/widgets" in asked[0]


def test_an_account_that_may_not_label_is_refused(person: Terminal, github: Double) -> None:
    done = person("monitor", "init", "--source", "github", "--yes", GH_TOKEN=github.token("eve"))
    assert (done.returncode, "may not label the issues of acme/widgets" in done.stderr) == (1, True), done
    done = person("monitor", "init", "--source", "github", "--yes", CLAUDETM_MONITOR_LABEL="claudetm: done")
    assert (done.returncode, "monitor.label cannot be claudetm: done" in done.stderr) == (1, True), done
    assert github.repository().labels == {}
    assert not (person.here / "tasks").exists()


# --- the skill -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["user", "project"])
def test_the_skill_is_put_where_claude_finds_it(person: Terminal, whose: str) -> None:
    file = (person.home if whose == "user" else person.here) / ".claude/skills/setup-task-monitor/SKILL.md"
    assert person("monitor", "init", "--yes", "--skill", whose).returncode == 0
    assert file.read_bytes() == SKILL.read_bytes()
    file.write_text("mine")
    done = person("monitor", "init", "--yes", "--skill", whose)
    assert (done.returncode, "was changed and is left alone" in done.stderr) == (1, True)
    assert file.read_text() == "mine"
    answers = [("was changed. Replace it?", "y\n"), ("Where do tasks come from?", "\n")]
    assert talk(person, ["monitor", "init", "--skill", whose], answers)[1] == 0
    assert file.read_bytes() == SKILL.read_bytes()


def test_there_is_no_other_place_for_a_skill(person: Terminal) -> None:
    done = person("monitor", "init", "--yes", "--skill", "everywhere")
    assert done.stderr == "claudetm: There is no place everywhere for a skill: use user or project\n"


def test_what_the_skill_shows_is_what_works(person: Terminal) -> None:
    """Runs the skill's own commands, in its order, and reads the report's keys in what they print."""
    text = SKILL.read_text()
    assert re.match(r"---\nname: setup-task-monitor\ndescription: \S", text)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    report = set(json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0]))
    assert report == {"setup_complete", "components_created", "service_type", "status"}
    assert [c.split()[1:4] for c in commands[:2]] == [
        ["monitor", "init", "--source"],
        ["monitor", "service", "install"],
    ]
    said = [person(*shlex.split(c)[1:]) for c in commands]
    assert [s.returncode for s in said] == [0] * len(commands), said
    for printed in said[:2]:
        data = json.loads(printed.stdout)
        assert report <= set(data)
        assert data["setup_complete"] is True
    assert json.loads(said[1].stdout)["status"] == "active"


# --- the service ---------------------------------------------------------------------------------------------


def test_a_service_is_installed_started_and_told_of_without_its_secrets(person: Terminal) -> None:
    done = person(
        "monitor", "service", "install", "--yes", "--json", GH_TOKEN="ghp_hidden", OTHER="no", LC_MESSAGES="C"
    )
    assert done.returncode == 0, done
    data = json.loads(done.stdout)
    assert {n: data[n] for n in ("setup_complete", "service_type", "status")} == {
        "setup_complete": True,
        "service_type": "systemd",
        "status": "active",
    }
    assert data["components_created"] == [str(variables(person)), str(unit(person)), "linger"]
    folders = {"XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"}  # or it would look for runs elsewhere
    assert {"PATH", "LC_MESSAGES", *folders, "ANTHROPIC_API_KEY", "GH_TOKEN"} <= set(data["variables"])
    assert data["variables"][0] == "PATH"
    assert data["variables"][-2:] == ["ANTHROPIC_API_KEY", "GH_TOKEN"]
    assert stat.S_IMODE(variables(person).stat().st_mode) == 0o600
    assert "OTHER" not in variables(person).read_text()
    for secret in (SECRET, "ghp_hidden"):
        assert secret not in done.stdout + done.stderr + told(person) + unit(person).read_text()
    assert f"WorkingDirectory={person.here}" in unit(person).read_text()
    assert re.search(r'^ExecStart="/.*/python[\d.]*" -P -m claudetm monitor$', unit(person).read_text(), re.MULTILINE)
    order = ["daemon-reload", "[enable] [claudetm-monitor.service]", "enable-linger", "[restart]"]
    assert sorted(order, key=told(person).index) == order
    script = '. "$0"; printf %s "$ANTHROPIC_API_KEY"'
    read = subprocess.run(["sh", "-c", script, variables(person)], capture_output=True, text=True, check=True)
    assert read.stdout == SECRET


def test_the_service_imports_nothing_that_lies_where_it_works(person: Terminal) -> None:
    for module in ("claudetm", "typer", "json"):
        (person.here / f"{module}.py").write_text("raise SystemExit('imported from the repository')\n")
    assert person("monitor", "service", "install", "--yes").returncode == 0
    line = next(x for x in unit(person).read_text().splitlines() if x.startswith("ExecStart="))
    words = shlex.split(line.removeprefix("ExecStart="))
    environment = {**person.environment, "GH_TOKEN": "ghp_hidden"}  # which it takes out, by calling itself anew
    done = subprocess.run(
        [*words, "--help"], cwd=person.here, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Usage: claudetm monitor" in done.stdout) == (0, True), done


def test_options_of_the_monitor_go_along_and_wrong_ones_do_not(person: Terminal) -> None:
    install = ("monitor", "service", "install", "--yes", "--no-linger", "--no-start")
    done = person(
        *install, "--working-dir", ".", "--env", "LANG", "--", "--source", "directory", "--poll", "5m", LANG="C"
    )
    assert done.returncode == 0, done
    assert "monitor --source directory --poll 5m\n" in unit(person).read_text()
    assert 'LANG="C"' in variables(person).read_text()
    assert "enable-linger" not in told(person)
    assert "[restart]" not in told(person)
    before = unit(person).read_bytes()
    wrong = person(*install, "--", "--no-such")
    assert (wrong.returncode, "No such option" in wrong.stderr) == (1, True), wrong
    key = person(*install, "--", "--api-key", "sk-shown")
    assert key.stderr.startswith("claudetm: A key on the service's command line could be read by all")
    absent = person(*install, "--env", "NOT_THERE")
    assert "NOT_THERE is not set here" in absent.stderr
    assert unit(person).read_bytes() == before


def test_a_key_that_this_shell_does_not_have_is_kept_when_it_is_installed_anew(person: Terminal) -> None:
    assert person("monitor", "service", "install", "--yes").returncode == 0
    assert person("monitor", "service", "install", "--yes", ANTHROPIC_API_KEY="").returncode == 0
    assert "ANTHROPIC_API_KEY=" in variables(person).read_text()


def test_each_variable_is_asked_for_by_its_name(person: Terminal) -> None:
    person.extra["GH_TOKEN"] = "ghp_hidden"
    answers = [("Give the service ANTHROPIC_API_KEY", "y\n"), ("Give the service GH_TOKEN", "n\n"), ("linger", "n\n")]
    seen, code = talk(person, ["monitor", "service", "install"], answers)
    assert code == 0, seen
    assert "ghp_hidden" not in seen + variables(person).read_text()
    assert "ANTHROPIC_API_KEY=" in variables(person).read_text()
    assert "enable-linger" not in told(person)


def test_ctrl_c_while_variables_are_asked_for_installs_nothing(person: Terminal) -> None:
    seen, code = talk(person, ["monitor", "service", "install"], [("Give the service ANTHROPIC_API_KEY", "\x03")])
    assert (code, unit(person).exists(), variables(person).exists()) == (1, False, False), seen


def test_where_nobody_can_be_asked_the_variables_are_named(person: Terminal) -> None:
    done = person("monitor", "service", "install")
    assert (done.returncode, "whether the service gets ANTHROPIC_API_KEY: --yes" in done.stderr) == (1, True)
    assert not unit(person).exists()


def test_without_systemd_the_other_ways_are_named_and_nothing_is_written(person: Terminal) -> None:
    (managers(person) / "absent").touch()
    for verb in ("install", "uninstall", "start", "stop", "restart", "status", "logs"):
        done = person("monitor", "service", verb)
        assert done.returncode == 1, done
        assert "No systemd of your own answers here (Failed to connect to bus" in done.stderr
        assert "in a container, or under pm2 or supervisor" in done.stderr
    assert not unit(person).exists()


def test_a_unit_of_somebody_else_is_left_alone(person: Terminal) -> None:
    unit(person).parent.mkdir(parents=True)
    unit(person).write_text("[Service]\nExecStart=/bin/true\n")
    for verb in ("install", "uninstall", "stop"):
        done = person("monitor", "service", verb, *["--yes"] * (verb != "stop"))
        assert (done.returncode, "is not of claudetm's making" in done.stderr) == (1, True), done
    assert unit(person).read_text() == "[Service]\nExecStart=/bin/true\n"
    unit(person).unlink()
    (managers(person) / "fragment").write_text("/usr/lib/systemd/user/claudetm-monitor.service")
    (person.here.parent / "elsewhere.service").touch()
    (managers(person) / "fragment").write_text(str(person.here.parent / "elsewhere.service"))
    assert "elsewhere.service is not of claudetm's making" in person("monitor", "service", "install", "--yes").stderr
    assert not unit(person).exists()


def test_two_folders_have_two_services_by_name(person: Terminal) -> None:
    assert person("monitor", "service", "install", "--yes").returncode == 0
    (person.here / "other").mkdir()
    done = person("monitor", "service", "install", "--yes", "--working-dir", "other")
    assert f"claudetm-monitor works in {person.here} already" in done.stderr
    named = person("monitor", "service", "install", "--yes", "--working-dir", "other", "--name", "two")
    assert named.returncode == 0, named
    assert unit(person, "claudetm-monitor-two").exists()
    assert person("monitor", "service", "start", "--name", "two").returncode == 0
    assert person("monitor", "service", "stop", "--name", "two").returncode == 0
    assert person("monitor", "service", "restart", "--name", "two").returncode == 0
    for verb in ("start", "stop", "restart"):
        assert f"[{verb}] [claudetm-monitor-two.service]" in told(person)
    assert person("monitor", "service", "status", "--name", "two").returncode == 0
    assert person("monitor", "service", "logs", "--name", "two").returncode == 0
    assert person("monitor", "service", "uninstall", "--yes", "--name", "two").returncode == 0
    assert unit(person).exists()
    assert not unit(person, "claudetm-monitor-two").exists()


def test_a_service_that_does_not_start_says_so(person: Terminal) -> None:
    (managers(person) / "fails").touch()
    done = person("monitor", "service", "install", "--yes")
    assert (done.returncode, "failed: Job failed; `claudetm monitor service logs`" in done.stderr) == (1, True), done


def test_status_and_logs_tell_what_systemd_knows(person: Terminal) -> None:
    assert person("monitor", "service", "install", "--yes").returncode == 0
    data = json.loads(person("monitor", "service", "status", "--json").stdout)
    assert (data["state"], data["pid"], data["restarts"], data["says"]) == ("active", 4711, 2, "2 tasks wait")
    shown = person("monitor", "service", "status").stdout
    assert "state:         active" in shown
    assert SECRET not in shown
    logs = person("monitor", "service", "logs", "-n", "5", "--follow")
    assert (logs.returncode, logs.stdout) == (0, "what the service said\n")
    assert logs.stderr == f"the monitor's own log, which is longer: {person.here}/logs/monitor.log\n"
    assert "journalctl [--user] [--unit] [claudetm-monitor.service] [--lines] [5] [--no-pager] [--follow]" in told(
        person
    )


def test_uninstall_removes_what_install_made(person: Terminal) -> None:
    assert person("monitor", "service", "install", "--yes").returncode == 0
    kept = person("monitor", "service", "uninstall")
    assert (kept.returncode, unit(person).exists(), variables(person).exists()) == (0, False, True), kept
    assert f"kept {variables(person)}, which holds keys" in kept.stdout
    assert "is not installed" in person("monitor", "service", "start").stderr
    assert person("monitor", "service", "install", "--yes").returncode == 0
    assert person("monitor", "service", "uninstall", "--yes").returncode == 0
    assert not variables(person).exists()
    assert "[disable] [--now] [claudetm-monitor.service]" in told(person)
    assert "[kill] [--signal=SIGTERM] [claudetm-monitor.service]" in told(person)


def test_a_unit_of_the_machine_is_written_for_root_and_removed(person: Terminal) -> None:
    """In a namespace where /etc is this test's alone."""
    works = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/etc/systemd", "true"]
    if os.geteuid() != 0 or not shutil.which("bwrap") or subprocess.run(works, check=False).returncode:
        pytest.skip("bubblewrap does not work here, or not as root")
    etc = person.here.parent / "etc"
    (etc / "systemd").mkdir(parents=True)
    (etc / "claudetm").mkdir()
    own = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/etc/systemd", "--bind", str(etc / "systemd"), "/etc/systemd"]
    if not Path("/etc/claudetm").exists():
        own += ["--tmpfs", "/etc", "--ro-bind", "/etc/passwd", "/etc/passwd", "--bind", str(etc / "systemd")]
        own += ["/etc/systemd"]
    own += ["--bind", str(etc / "claudetm"), "/etc/claudetm"]
    done = person("monitor", "service", "install", "--system", "--yes", "--start", wrap=own)
    assert done.returncode == 0, done
    unit_file, kept = etc / "systemd/system/claudetm-monitor.service", etc / "claudetm/claudetm-monitor.env"
    assert (stat.S_IMODE(unit_file.stat().st_mode), stat.S_IMODE(kept.stat().st_mode)) == (0o644, 0o600)
    assert "enable-linger" not in told(person)
    assert person("monitor", "service", "uninstall", "--system", "--yes", wrap=own).returncode == 0
    assert (unit_file.exists(), kept.exists()) == (False, False)


def test_the_monitor_tells_its_manager_that_it_is_ready_lives_and_ends(person: Terminal) -> None:
    person("monitor", "init", "--yes")
    address = str(person.home / "notify")
    person.extra |= {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(40)
        process = person.begin(
            "monitor", "--source", "directory", "--poll", "5", "--no-update-check", "--rehearse", "demo"
        )
        said = [manager.recv(4096).decode()]
        while "WATCHDOG=1" not in said:
            said.append(manager.recv(4096).decode())
        process.terminate()
        while not said[-1].startswith("STOPPING=1"):
            said.append(manager.recv(4096).decode())
    assert process.wait() in {0, 2}  # both are no failure to the unit
    assert any(word.startswith("READY=1") for word in said)


def test_lingering_alone_can_be_asked_for(person: Terminal) -> None:
    assert person("monitor", "service", "install", "--yes", "--linger").returncode == 0
    assert "loginctl [enable-linger]" in told(person)


def test_a_dry_run_shows_the_unit_and_writes_nothing(person: Terminal) -> None:
    before = bytes_of(person.here, person.home)
    done = person("monitor", "service", "install", "--dry-run")
    assert (done.returncode, "Type=notify" in done.stdout) == (0, True), done
    assert re.search("would set: PATH, .*ANTHROPIC_API_KEY", done.stdout)
    assert SECRET not in done.stdout
    assert bytes_of(person.here, person.home) == before


def test_a_unit_of_the_machine_says_whose_it_is(person: Terminal) -> None:
    install = ("monitor", "service", "install", "--system", "--dry-run")
    assert "\nUser=root\n" in person(*install, "--user", "root").stdout
    assert "XDG_" not in person(*install, "--user", "nobody").stdout  # those folders are not nobody's
    owner = subprocess.run(["stat", "-c", "%U", person.here], capture_output=True, text=True, check=True).stdout
    assert f"\nUser={owner}" in person(*install).stdout
    assert "There is no user nobody-here" in person(*install, "--user", "nobody-here").stderr
    assert "--user is for --system" in person("monitor", "service", "install", "--user", "root").stderr
    absent = ("--name", "not-there")
    assert "is not installed" in person("monitor", "service", "uninstall", "--system", *absent).stderr
    assert "is not installed" in person("monitor", "service", "start", "--system", *absent).stderr
    assert "is not installed" in person("monitor", "service", "stop", "--system", *absent).stderr
    assert "is not installed" in person("monitor", "service", "restart", "--system", *absent).stderr
    assert "is not installed" in person("monitor", "service", "logs", "--system", *absent).stderr
    assert person("monitor", "service", "status", "--system", *absent).returncode == 0
    assert "systemctl [--no-ask-password] [show]" in told(person)  # and not that of a user
    assert "[--user] [--no-ask-password]" not in told(person)


# --- doctor --------------------------------------------------------------------------------------------------


def examined(person: Terminal, **extra: str) -> dict[str, tuple[str, str]]:
    """Return how each check of the monitor came out, and what it found and advises."""
    ended = person("doctor", "--json", said=None, **extra)
    assert ended.stderr == ""
    ours = ("monitor", "Sego", ".env", "file events", "linger")
    found = [f for f in json.loads(ended.stdout) if f["name"].startswith(ours)]
    return {f["name"]: (f["state"], f"{f['found']} | {f['remedy']}") for f in found}


def test_doctor_says_nothing_of_a_monitor_that_nobody_set_up(person: Terminal) -> None:
    assert examined(person) == {}


def test_doctor_looks_at_the_folders_and_at_whether_a_monitor_runs(person: Terminal) -> None:
    person("monitor", "init", "--yes")
    found = examined(person)
    assert {name: state for name, (state, _) in found.items()} == {
        "monitor": "warning",
        "monitor folders": "ok",
        "file events": "ok",
    }
    assert "tasks from directory" in found["monitor"][1]
    assert "it does not run | claudetm monitor, or claudetm monitor service install" in found["monitor"][1]
    (person.here / "results").rmdir()
    assert "results is not there yet | claudetm monitor init" in examined(person)["monitor folders"][1]
    (person.here / "results").touch()
    assert examined(person)["monitor folders"][0] == "warning"


def test_doctor_looks_at_the_service_that_works_here(person: Terminal) -> None:
    person("monitor", "init", "--yes")
    person("monitor", "service", "install", "--yes", "--no-linger")
    found = examined(person)
    assert found["monitor service"] == ("ok", "claudetm-monitor is active, running | ")
    assert (found["linger"][0], "loginctl enable-linger" in found["linger"][1]) == ("warning", True)
    (managers(person) / "absent").touch()
    assert examined(person)["monitor service"][0] == "failure"


def test_doctor_asks_sego_for_the_key_the_project_and_the_stream(person: Terminal, sego: Sego) -> None:
    init = ("monitor", "init", "--source", "sego", "--yes", "--api-url", sego.url, "--project-id")
    person(*init, "demo", SEGO_API_KEY=sego.key)
    found = examined(person)
    assert {n: found[n][0] for n in (".env", "Sego PM key", "Sego PM project", "Sego PM stream")} == {
        ".env": "ok",
        "Sego PM key": "ok",
        "Sego PM project": "ok",
        "Sego PM stream": "ok",
    }
    assert "auto-task is on, from an AI confidence of 0.85" in found["Sego PM project"][1]
    exclude = person.here / ".git" / "info" / "exclude"
    exclude.write_text(exclude.read_text().replace("/.env\n", ""))
    assert examined(person)[".env"][0] == "warning"  # the next `git add .` would take the key
    (person.here / ".env").chmod(0o644)
    person(*init, "quiet", SEGO_API_KEY=sego.key)
    (person.here / ".env").chmod(0o644)
    found = examined(person)
    assert found["Sego PM project"] == ("warning", "Quiet: auto-task is off | claudetm monitor sego enable")
    assert (found[".env"][0], "chmod 600" in found[".env"][1]) == ("warning", True)
    refused = examined(person, SEGO_API_KEY="sk-wrong")
    assert (refused["Sego PM key"][0], "Sego PM project" in refused) == ("failure", False)
    nobody = examined(person, SEGO_API_URL="http://127.0.0.1:9")
    assert (nobody["Sego PM"][0], "the monitor goes on asking" in nobody["Sego PM"][1]) == ("warning", True)


def test_doctor_asks_github_for_the_label_and_the_right_to_comment(person: Terminal, github: Double) -> None:
    person("monitor", "init", "--source", "github", "--yes")
    assert examined(person)["monitor issues"] == ("ok", "acme/widgets, label claudetm | ")
    other = examined(person, CLAUDETM_MONITOR_LABEL="robot")["monitor issues"]
    assert other == (
        "warning",
        "acme/widgets, label robot, which is not there | claudetm monitor init --source github",
    )
    refused = examined(person, GH_TOKEN=github.token("eve"))["monitor issues"]
    assert (refused[0], "may not label the issues" in refused[1]) == ("failure", True)
