"""Which token goes to a host. The programs are real ones on a PATH of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from claudetm.adapters.forge.github.access import Token, find, is_actions_token, ssh_host
from claudetm.redact import MASK, redact

EVERY = {
    "GH_TOKEN": "token-of-gh-0123456789",
    "GITHUB_TOKEN": "token-of-github-0123456789",
    "GH_ENTERPRISE_TOKEN": "token-of-gh-enterprise-0123456789",
    "GITHUB_ENTERPRISE_TOKEN": "token-of-github-enterprise-0123456789",
    "PATH": "",
}


def program(folder: Path, name: str, script: str) -> dict[str, str]:
    """Return an environment where a program of that name is found."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)}


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("github.com", ["GH_TOKEN", "GITHUB_TOKEN"]),
        ("acme.ghe.com", ["GH_TOKEN", "GITHUB_TOKEN"]),
        ("ghe.example.com", ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"]),
    ],
)
def test_the_variables_of_a_host_go_in_their_order(host: str, names: list[str]) -> None:
    environment = dict(EVERY)
    for name in names:
        token = find(host, environment)
        assert token == Token(EVERY[name], name)
        environment[name] = " "
    assert find(host, environment) is None  # no other host's token is given to it


@pytest.mark.parametrize("name", ["GITHUB_SERVER_URL", "GITHUB_API_URL"])
def test_a_workflow_on_a_server_has_its_token_for_that_server(name: str) -> None:
    inside = {"PATH": "", "GITHUB_TOKEN": "ghs_0123456789", name: "https://ghe.example.com/api/v3"}
    assert find("ghe.example.com", inside) == Token("ghs_0123456789", "GITHUB_TOKEN")
    assert find("other.example.com", inside) is None


def test_a_login_of_gh_is_found_for_its_host(tmp_path: Path) -> None:
    environment = program(
        tmp_path / "bin", "gh", 'test "$*" = "auth token --hostname ghe.example.com" && echo gh-said-it'
    )
    assert find("ghe.example.com", environment) == Token("gh-said-it", "gh auth token --hostname ghe.example.com")
    assert redact("it is gh-said-it") == f"it is {MASK}"
    assert find("github.com", environment) is None  # exit 1: no login there
    found = find("github.com", environment | {"GITHUB_TOKEN": EVERY["GITHUB_TOKEN"]})
    assert found is not None
    assert found.source == "GITHUB_TOKEN"


def test_a_token_that_was_taken_out_of_the_environment_is_found() -> None:
    script = """
import os
from claudetm.credentials import withdraw
withdraw()
from claudetm.adapters.forge.github.access import find
print(os.environ.get("GH_TOKEN"), find("github.com", os.environ).value)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"GH_TOKEN": EVERY["GH_TOKEN"], "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["None", EVERY["GH_TOKEN"]]


def test_without_gh_there_is_none(tmp_path: Path) -> None:
    assert find("github.com", {"PATH": str(tmp_path)}) is None
    assert find("github.com", {}) is None


def test_a_gh_that_fails_or_says_nothing_is_none(tmp_path: Path) -> None:
    assert find("github.com", program(tmp_path / "a", "gh", "echo half-a-token; exit 1")) is None
    assert find("github.com", program(tmp_path / "b", "gh", "exit 0")) is None
    broken = program(tmp_path / "c", "gh", "")
    (tmp_path / "c" / "gh").write_bytes(b"\x7fELF")
    assert find("github.com", broken) is None


def test_a_gh_of_the_folder_one_stands_in_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "gh", "echo a-token-of-the-repository")
    monkeypatch.chdir(tmp_path)
    assert find("github.com", {"PATH": ".:"}) is None


def test_a_token_is_shown_nowhere() -> None:
    token = find("github.com", {"GH_TOKEN": "0123456789abcdef0123456789abcdef01234567"})
    assert token is not None
    assert token.value not in repr(token)
    assert redact(f"it is {token.value}") == f"it is {MASK}"


def test_a_workflows_own_token_is_told_from_others() -> None:
    inside = {"GITHUB_ACTIONS": "true"}
    own, app = Token("ghs_0123456789", "GITHUB_TOKEN"), Token("ghs_9876543210", "GH_TOKEN")
    assert is_actions_token(own, inside)
    assert is_actions_token(own, inside, "github-actions[bot]")
    assert not is_actions_token(app, inside, "acme-bot[bot]")
    assert not is_actions_token(own, {})
    assert not is_actions_token(Token("ghp_0123456789", "GITHUB_TOKEN"), inside)


def test_an_alias_of_ssh_is_the_host_it_leads_to(tmp_path: Path) -> None:
    said = program(
        tmp_path / "a", "ssh", 'test "$*" = "-G -- github-work" && printf "user git\\nhostname GitHub.com\\n"'
    )
    assert ssh_host("github-work", said) == "github.com"
    assert ssh_host("other", said) == "other"
    assert ssh_host("other", {"PATH": ""}) == "other"


def test_ssh_itself_understands_how_it_is_asked(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host github-work\n  HostName ssh.github.com\n", encoding="utf-8")
    wrapped = program(tmp_path / "bin", "ssh", f'exec /usr/bin/ssh -F {config} "$@"')
    if not Path("/usr/bin/ssh").exists():
        pytest.skip("there is no ssh here")
    assert ssh_host("github-work", wrapped) == "ssh.github.com"
