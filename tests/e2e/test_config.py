"""Configuration and credentials through the real command line: what is shown, written, masked, refused and used."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from terminal import SCENARIOS, Terminal, bytes_of, left_halfway, terminal, wait_for

pytestmark = pytest.mark.e2e

KEY = "gateway-key-0123456789-abcdef"


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


@pytest.fixture
def halted(person: Terminal) -> Terminal:
    """A run whose driver died in the middle of its work."""
    left_halfway(person)
    return person


def written(person: Terminal, data: object) -> Path:
    person.state.mkdir(exist_ok=True, mode=0o700)
    file = person.state / "config.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


def test_a_default_configuration_is_written_once_and_changes_nothing(person: Terminal) -> None:
    before = person("config", "show").stdout
    made = person("--init-config")
    file = person.state / "config.json"
    assert (made.returncode, made.stdout) == (0, f"{file} is written; `claudetm config show` says what counts\n")
    assert (file.stat().st_mode & 0o777, person.state.stat().st_mode & 0o777) == (0o600, 0o700)
    assert person.git("status", "--porcelain") == ""
    values = [line.partition("  (")[0] for line in before.splitlines()]
    shown = person("--show-config")
    assert [line.partition("  (")[0] for line in shown.stdout.splitlines()] == values
    assert f"merge.auto = true  ({file})" in shown.stdout
    content = file.read_bytes()
    again = person("--init-config")
    assert (again.returncode, again.stdout) == (1, "")
    assert "is there already and is left as it is" in again.stderr
    assert file.read_bytes() == content


def test_init_prepares_says_what_it_found_and_can_be_called_again(person: Terminal) -> None:
    first = person("init", ANTHROPIC_API_KEY=KEY)
    assert (first.returncode, first.stderr) == (0, "")
    config = json.loads((person.state / "config.json").read_text())
    assert (config["version"], config["checks"]["commands"]) == (1, ["make test"])
    said = {line.partition(":")[0]: line.partition(":")[2].strip() for line in first.stdout.splitlines()}
    assert said["checks"] == "make test (detected)"
    assert said["target branch"] == "main"
    assert said["forge"] == "local"
    assert said["credentials"] == "ANTHROPIC_API_KEY"
    assert said["next"] == 'claudetm start "what shall be true at the end"'
    assert person.state.stat().st_mode & 0o777 == 0o700
    assert person.git("status", "--porcelain") == ""
    before = bytes_of(person.here)
    again = person("init")
    assert again.returncode == 0
    assert "there already, left as it is" in again.stdout
    assert "log in with `claude` or set ANTHROPIC_API_KEY" in again.stdout
    assert bytes_of(person.here) == before


def test_init_leaves_the_state_of_another_program_alone(person: Terminal) -> None:
    person.state.mkdir()
    (person.state / "state.json").write_text("{}")
    before = bytes_of(person.here)
    for command in ("init", "--init-config"):
        refused = person(command)
        assert refused.returncode == 1
        assert "claudetm clean moves it to history/" in refused.stderr
    assert bytes_of(person.here) == before


def test_a_key_is_read_from_standard_input_kept_to_its_owner_and_masked_wherever_shown(person: Terminal) -> None:
    set_ = person("config", "set", "api.anthropic_api_key", "-", said=f"{KEY}\n".encode())
    file = person.state / "config.json"
    assert set_.returncode == 0
    assert json.loads(file.read_text())["api"]["anthropic_api_key"] == KEY
    assert file.stat().st_mode & 0o777 == 0o600
    asked = [
        person("config", "show", CLAUDETM_DEBUG="1", OPENROUTER_API_KEY=KEY[::-1]),
        person("config", "--json"),
        person("--show-config"),
        person("config", "get", "api.anthropic_api_key"),
        person("config", "set", "api.anthropic_api_key", "-", said=b"two words"),
        person("doctor", "--json"),
        set_,
    ]
    for ended in asked:
        assert KEY not in ended.stdout + ended.stderr
        assert KEY[::-1] not in ended.stdout + ended.stderr
    assert asked[3].stdout == "[secret]\n"
    assert 'debug: api.openrouter_api_key = "[secret]"  (environment: OPENROUTER_API_KEY)' in asked[0].stderr
    assert "must be a key without spaces, not [secret]" in asked[4].stderr
    used = next(f for f in json.loads(asked[5].stdout) if f["name"] == "credentials")
    assert used["found"] == f"api.anthropic_api_key in {file}"


def test_a_key_in_the_command_line_is_taken_with_a_word_of_warning(person: Terminal) -> None:
    ended = person("config", "set", "api.openrouter_api_key", KEY)
    assert ended.returncode == 0
    assert "where others can see it" in ended.stderr
    assert KEY not in ended.stdout + ended.stderr


def test_a_loose_file_with_a_key_is_tightened_and_that_is_said(person: Terminal) -> None:
    file = written(person, {"api": {"anthropic_api_key": KEY}})
    file.chmod(0o644)
    looked = next(f for f in json.loads(person("doctor", "--json").stdout) if f["name"] == "configuration")
    assert looked["state"] == "warning"
    assert "others can read it" in looked["found"]
    assert file.stat().st_mode & 0o777 == 0o644  # looking changes nothing
    assert "now readable to you alone (0600)" in person("config", "show").stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert person("config", "show").stderr == ""


def test_what_hides_what_is_shown_and_told_when_a_value_is_set(person: Terminal) -> None:
    person.extra["CLAUDETM_LIMITS_TURNS"] = "9"
    set_ = person("config", "set", "limits.turns", "5")
    assert "; CLAUDETM_LIMITS_TURNS of the environment goes before it" in set_.stdout
    shown = person("config", "show").stdout
    file = person.state / "config.json"
    assert f"limits.turns = 9  (environment: CLAUDETM_LIMITS_TURNS)\n    hides 5  ({file})\n" in shown
    data = json.loads(person("config", "show", "--json").stdout)["limits.turns"]
    assert data == {
        "value": 9,
        "source": "environment",
        "variable": "CLAUDETM_LIMITS_TURNS",
        "hides": [{"value": 5, "source": str(file)}],
    }
    assert person("config", "get", "limits.turns").stdout == "9\n"


@pytest.mark.parametrize("values", [["npm ci", '[ -f a ] && echo "ü"'], ["[ -f a ] && make"], []])
def test_a_list_is_set_as_it_is_got(person: Terminal, values: list[str]) -> None:
    written(person, {"worktree": {"setup": values}})
    got = person("config", "get", "worktree.setup").stdout
    assert person("config", "set", "worktree.setup", "before").returncode == 0
    assert person("config", "set", "worktree.setup", got.strip()).returncode == 0
    assert json.loads((person.state / "config.json").read_text())["worktree"]["setup"] == values
    assert person("config", "get", "worktree.setup").stdout == got


def test_a_command_that_begins_with_a_bracket_is_one_and_a_spoilt_list_is_refused(person: Terminal) -> None:
    command = "[ -f package.json ] && npm ci"
    assert person("config", "set", "worktree.setup", command).returncode == 0
    assert json.loads(person("config", "get", "worktree.setup").stdout) == [command]
    refused = person("config", "set", "worktree.setup", '["npm ci",]')
    assert (refused.returncode, "worktree.setup" in refused.stderr) == (1, True)
    assert json.loads(person("config", "get", "worktree.setup").stdout) == [command]
    person.extra["CLAUDETM_WORKTREE_SETUP"] = command
    assert json.loads(person("config", "get", "worktree.setup").stdout) == [command]


def test_a_file_of_claude_task_master_is_used_and_what_means_nothing_is_named_once(person: Terminal) -> None:
    theirs = {
        "version": "1.0",
        "api": {"anthropic_api_key": None, "anthropic_base_url": "https://api.anthropic.com"},
        "models": {"sonnet": None, "opus": "claude-opus-4-7", "haiku": None, "sonnet_1m": "claude-sonnet-4-6"},
        "git": {"target_branch": "main", "auto_push": True},
        "context_windows": {"opus": 200000},
        "tools": {"planning": ["Read"], "working": []},
    }
    file = written(person, theirs)
    shown = person("config", "show")
    assert shown.returncode == 0
    assert shown.stderr == f"{file}: tools and context_windows mean nothing here and are ignored.\n"
    assert f'models.opus = "claude-opus-4-7"  ({file})' in shown.stdout
    assert person("config", "set", "limits.turns", "7").returncode == 0
    assert json.loads(file.read_text())["tools"] == theirs["tools"]


def test_two_variables_of_one_key_that_differ_are_refused(person: Terminal) -> None:
    ended = person("config", "show", CLAUDETM_MODEL_OPUS="a", CLAUDETM_MODELS_OPUS="b")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "CLAUDETM_MODELS_OPUS and CLAUDETM_MODEL_OPUS both set models.opus, and differ: unset one." in ended.stderr


def test_a_tracked_file_s_commands_and_keys_do_not_count(person: Terminal) -> None:
    written(person, {"checks": {"commands": ["evil"]}, "api": {"anthropic_api_key": KEY}, "limits": {"turns": 3}})
    person.git("add", "-f", ".claude-task-master/config.json")
    shown = person("config", "show")
    assert shown.stderr.count("because git tracks the file; --trust-project-settings takes it") == 2
    assert "checks.commands = []  (default)" in shown.stdout
    assert "limits.turns = 3" in shown.stdout
    set_ = person("config", "set", "checks.none", "pass")
    assert "git tracks that file, so it counts with --trust-project-settings only" in set_.stdout
    found = {f["name"]: f for f in json.loads(person("doctor", "--json").stdout)}
    assert found["credentials"]["state"] == "failure"
    trusted = person("config", "show", CLAUDETM_TRUST_PROJECT_SETTINGS="1")
    assert 'checks.commands = ["evil"]' in trusted.stdout


def test_a_setting_reaches_a_run_that_is_not_over(halted: Terminal) -> None:
    told = halted("config", "set", "limits.session_minutes", "30")
    assert "from its next step on (done)" in told.stdout
    assert halted.events()[-1]["data"] == {"settings": {"session_seconds": 1800.0}}
    assert "from its next step on" in halted("config", "set", "roles.planner.model", "haiku").stdout
    assert halted.events()[-1]["data"] == {"settings": {"tuning": {"roles.planner.model": "haiku"}}}
    key = halted("config", "set", "api.anthropic_api_key", "-", said=KEY.encode())
    assert "from the next `claudetm resume` on" in key.stdout
    assert KEY not in (halted.state / "journal.jsonl").read_text()


def test_null_detects_a_run_s_checks_again_and_is_refused_where_that_finds_none(halted: Terminal) -> None:
    assert halted("config", "set", "checks.commands", "true").returncode == 0
    told = halted("config", "set", "checks.commands", "null")
    assert told.returncode == 0, told
    assert "to null, which leaves it to what is detected; the run" in told.stdout
    assert "checks: make test (detected)" in told.stdout
    assert halted.events()[-1]["data"] == {"settings": {"checks": ["make test"]}}
    halted.git("rm", "-rq", "Makefile", "tests")
    halted.git("commit", "-qm", "No checks")
    file, records = halted.state / "config.json", len(halted.events())
    before = file.read_bytes()
    refused = halted("config", "set", "checks.commands", "null")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "zero checks is not green" in refused.stderr
    assert (file.read_bytes(), len(halted.events())) == (before, records)
    assert halted("config", "set", "worktree.setup", "true").returncode == 0
    assert halted("config", "set", "worktree.setup", "null").returncode == 0
    assert halted.events()[-1]["data"] == {"settings": {"setup": []}}


def test_a_run_is_told_what_counts_and_nothing_else(halted: Terminal) -> None:
    user = halted.home / "config" / "claudetm" / "config.json"
    user.parent.mkdir(parents=True)
    user.write_text('{"limits": {"cost_usd": 0.05}}')
    told = halted("config", "set", "limits.cost_usd", "null")
    assert f"to null, which leaves it at 0.05 ({user})" in told.stdout
    assert halted.events()[-1]["data"] == {"settings": {"cost_usd": 0.05}}
    records = len(halted.events())
    assert "goes by that already" in halted("config", "set", "limits.cost_usd", "null").stdout
    hidden = halted("config", "set", "limits.cost_usd", "50", CLAUDETM_LIMITS_COST_USD="0.03").stdout
    assert "CLAUDETM_LIMITS_COST_USD of the environment goes before it" in hidden
    halted.git("add", "-f", ".claude-task-master/config.json")
    tracked = halted("config", "set", "limits.cost_usd", "60").stdout
    assert "counts with --trust-project-settings only" in tracked
    assert "the run" not in hidden + tracked
    assert len(halted.events()) == records


def test_a_run_keeps_what_it_was_started_with_beside_the_one_value_that_is_set(halted: Terminal) -> None:
    assert halted("config", "set", "models.opus", "prov/x").returncode == 0
    assert halted.events()[-1]["data"] == {"settings": {"models": {"opus": "prov/x"}}}
    (halted.state / "config.json").unlink()
    assert halted("config", "set", "models.haiku", "prov/y").returncode == 0
    assert halted.events()[-1]["data"] == {"settings": {"models": {"opus": "prov/x", "haiku": "prov/y"}}}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("merge.method", "rebase", "The local forge cannot rebase"),
        ("worktree.copy", "../../../etc/passwd", "is not a path inside the repository"),
        ("model", "prov/y", "is no model"),
        ("nope", "1", "nope is no setting"),
        ("tools.x", "1", "tools.x is no setting"),
        ("version", "2", "version is no setting"),
    ],
)
def test_what_a_start_refuses_is_not_set(halted: Terminal, name: str, value: str, sentence: str) -> None:
    before = bytes_of(halted.here)
    refused = halted("config", "set", name, value)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert sentence in refused.stderr
    assert bytes_of(halted.here) == before


@pytest.mark.parametrize("name", ["model", "roles.planner.model"])
def test_a_model_that_the_file_knows_can_be_set(halted: Terminal, name: str) -> None:
    written(halted, {"models": {"opus": "prov/x"}})
    told = halted("config", "set", name, "prov/x")
    assert (told.returncode, told.stderr) == (0, "")
    assert "from its next step on (done)" in told.stdout


def test_settings_that_are_set_at_once_are_all_kept(person: Terminal) -> None:
    names = ["turns", "sessions", "cost_usd", "attempts", "fix_rounds", "verify_rounds", "session_minutes"]
    at_once = [person.begin("config", "set", f"limits.{name}", "7") for name in names]
    assert [running.wait(60) for running in at_once] == [0] * len(names), person.output()
    assert json.loads((person.state / "config.json").read_text()) == {"limits": dict.fromkeys(names, 7)}


def test_a_file_that_could_not_be_read_to_its_end_is_refused(person: Terminal) -> None:
    file = written(person, {})
    file.unlink()
    os.mkfifo(file)
    for arguments in (("config", "show"), ("config", "set", "limits.turns", "3"), ("start", "Greet")):
        refused = person(*arguments)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"{file} is not a regular file; move it away." in refused.stderr
    assert "is not a regular file" in person("doctor").stdout
    file.unlink()
    file.write_text(" " * (1 << 20) + "{}")
    assert f"{file} is larger than 1 MiB; move it away." in person("config", "show").stderr


def test_a_link_stays_one_and_what_it_leads_to_is_written(person: Terminal) -> None:
    file = written(person, {})
    file.unlink()
    mine = person.home / "dotfiles.json"
    mine.write_text('{"limits": {"turns": 3}}')
    file.symlink_to(mine)
    assert person("config", "set", "limits.sessions", "4").returncode == 0
    assert file.readlink() == mine
    assert json.loads(mine.read_text()) == {"limits": {"turns": 3, "sessions": 4}}
    person.git("add", "-f", ".claude-task-master/config.json")
    before = mine.read_bytes()
    refused = person("config", "set", "limits.sessions", "5")
    assert refused.returncode == 1
    assert "is a link that git tracks, so it could lead anywhere" in refused.stderr
    assert mine.read_bytes() == before


def test_outside_of_a_repository_ones_own_settings_are_shown_and_none_can_be_set(tmp_path: Path) -> None:
    person = terminal(tmp_path, repository=False)
    user = person.home / "config" / "claudetm" / "config.json"
    user.parent.mkdir(parents=True)
    user.write_text('{"limits": {"turns": 9}}')
    for arguments in (("config", "show"), ("--show-config",)):
        shown = person(*arguments)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert f"limits.turns = 9  ({user})" in shown.stdout
        assert "merge.auto = true  (default)" in shown.stdout
    assert person("config", "get", "limits.turns").stdout == "9\n"
    assert person("config", "path").stdout == f"{user}\n"
    before = bytes_of(tmp_path)
    refused = person("config", "set", "limits.turns", "3")
    assert "is not in a git repository" in refused.stderr
    assert (refused.returncode, bytes_of(tmp_path)) == (1, before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_an_output_that_takes_nothing_is_named(person: Terminal) -> None:
    ended = person("config", "show", wrap=("sh", "-c", 'exec "$@" > /dev/full', "sh"))
    said = "claudetm: standard output or a file: No space left on device; mend that, then call the same again\n"
    assert (ended.returncode, ended.stderr) == (1, said)


# --- settings that a driver goes by ----------------------------------------------------------------------------


def test_checks_that_are_set_while_a_driver_works_are_the_ones_that_run(person: Terminal) -> None:
    running = person.begin("start", "Greet loudly", "--rehearse", str(SCENARIOS / "loud.yaml"), "--no-review")
    state = person.home / "state" / "claudetm"
    wait_for(lambda: list(state.glob("*/*/changes/c1/greet/loud.py")), f"uncommitted work\n{person.output()}")
    told = person("config", "set", "checks.commands", "python3 -B -m unittest -q")
    assert "from its next step on (done)" in told.stdout
    assert running.wait(60) == 0, person.output()
    records = (person.state / "forge" / "journal.jsonl").read_text()
    assert "unittest -q" in records
    assert "make test" not in records
    finished = next(e["seq"] for e in person.events() if e["type"] == "TaskFinished")
    began = [e["seq"] for e in person.events() if e["type"] == "TaskStarted"]
    assert began[0] < finished < began[1]


def test_without_auto_push_a_run_stops_before_its_first_push_until_it_is_resumed(
    person: Terminal, tmp_path: Path
) -> None:
    quick = tmp_path / "quick.yaml"
    quick.write_text((SCENARIOS / "loud.yaml").read_text().replace("delay: 5", "delay: 0"))
    file = written(person, {"git": {"auto_push": False}})
    start = person("start", "Greet loudly", "--rehearse", str(quick), "--no-review", CLAUDETM_DEBUG="1")
    assert start.returncode == 2, start
    assert f"debug: git.auto_push = false  ({file})" in start.stderr
    assert "is ready to be pushed, and git.auto_push is false" in start.stdout + start.stderr
    assert "claudetm resume" in start.stdout + start.stderr
    assert "/c1" not in person.git("branch", "--list", "claudetm/*")
    assert "git.auto_push is false" in " ".join(person("status").stdout.split())
    for shown in (person("status").stdout, person("explain").stdout, person("explain", "c1").stdout):
        [work] = [line for line in shown.splitlines() if "c1's work: git -C " in line]
        command = shlex.split(work.partition("work: ")[2])
        diff = subprocess.run(command, capture_output=True, text=True, check=True, cwd=person.here).stdout
        assert "greet/loud.py" in diff
    # a rehearsal goes by the scripted model, whatever credentials there are
    real = {"ANTHROPIC_AUTH_TOKEN": KEY, "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    person.extra.update(real, CLAUDETM_DEBUG="1")
    resumed = person("resume")
    assert resumed.returncode == 0, resumed
    assert "debug: git.auto_push = false" in resumed.stderr
    assert person.events()[-1]["type"] == "GoalVerified"


# --- credentials, with the real SDK and CLI --------------------------------------------------------------------


@dataclass
class Gateway:
    """A Messages API that knows no model, and remembers who asked for which."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    seen = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path.startswith("/v1/messages"):
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen.asked.append({**headers, "model": json.loads(body)["model"]})
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def answer(self) -> None:
            error = {"type": "error", "error": {"type": "not_found_error", "message": "model: unknown"}}
            content = json.dumps(error).encode()
            self.send_response(404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield seen
    server.shutdown()
    server.server_close()
    serving.join()


def asks(person: Terminal, gateway: Gateway, *options: str, **environment: Any) -> dict[str, Any]:
    """Start a run whose first session asks the gateway; return what it was sent."""
    ended = person("start", "Greet loudly", *options, **environment)
    assert ended.returncode == 1, ended
    assert "Claude does not know the model" in ended.stdout + ended.stderr, ended
    assert KEY not in ended.stdout + ended.stderr
    for path in (*person.state.rglob("*"), *(person.home / "state").rglob("*")):
        if path.is_file() and path.name != "config.json" and "agent-home" not in path.parts:
            assert KEY.encode() not in path.read_bytes(), path
    return gateway.asked[0]


def test_openrouter_s_key_becomes_a_token_and_no_other_key_is_sent(person: Terminal, gateway: Gateway) -> None:
    sent = asks(
        person,
        gateway,
        OPENROUTER_API_KEY=KEY,
        OPENROUTER_BASE_URL=f"{gateway.url}/v1",
        ANTHROPIC_MODEL="vendor/model-9",
    )
    assert sent["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in sent
    assert sent["model"] == "vendor/model-9"


def test_the_file_s_key_and_address_are_used_and_a_tier_s_own_model(person: Terminal, gateway: Gateway) -> None:
    api = {"anthropic_api_key": KEY, "anthropic_base_url": gateway.url}
    written(person, {"version": "1.0", "api": api, "models": {"opus": "vendor/opus"}})
    sent = asks(person, gateway, "--model", "opus")
    assert sent["x-api-key"] == KEY
    assert sent["model"] == "vendor/opus"
    gateway.asked.clear()
    resumed = person("resume", "--model", "haiku")  # the key is found again: it stands in no journal
    assert resumed.returncode == 1
    assert gateway.asked[0]["x-api-key"] == KEY
    assert "haiku" in gateway.asked[0]["model"]
    gateway.asked.clear()
    person("resume", "--model", "vendor/opus")  # as models.opus says, it is one
    assert gateway.asked[0]["model"] == "vendor/opus"
    assert "is no model" in person("resume", "--model", "vendor/other").stderr


def test_a_token_for_a_gateway_is_used(person: Terminal, gateway: Gateway) -> None:
    sent = asks(person, gateway, ANTHROPIC_AUTH_TOKEN=KEY, ANTHROPIC_BASE_URL=gateway.url)
    assert sent["authorization"] == f"Bearer {KEY}"


def test_a_login_is_found_from_the_agent_s_private_home(person: Terminal, gateway: Gateway) -> None:
    login = person.home / ".claude" / ".credentials.json"
    login.parent.mkdir()
    oauth = {
        "accessToken": KEY,
        "refreshToken": KEY[::-1],
        "expiresAt": int((time.time() + 86_400) * 1000),
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
    }
    login.write_text(json.dumps({"claudeAiOauth": oauth}))
    sent = asks(person, gateway, ANTHROPIC_BASE_URL=gateway.url)
    assert sent["authorization"] == f"Bearer {KEY}"


def test_without_any_credential_nothing_begins(person: Terminal) -> None:
    before = bytes_of(person.here)
    ended = person("start", "Greet loudly")
    assert ended.returncode == 1
    assert "No Claude credentials were found" in ended.stderr
    assert bytes_of(person.here) == before
