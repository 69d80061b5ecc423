"""What the agent and commands find in their environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudetm.adapters.agent.environment import (
    TOOL_FOLDERS,
    account_home,
    agent_environment,
    claude_folder,
    command_environment,
)

FOREIGN = (
    "GH_TOKEN GITHUB_TOKEN SSH_AUTH_SOCK AWS_SECRET_ACCESS_KEY SEGO_API_KEY DATABASE_URL PIP_INDEX_URL "
    "GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS GIT_DIR LD_PRELOAD PYTHONPATH NODE_OPTIONS"
)
SECRETS = dict.fromkeys(FOREIGN.split(), "canary")
HARMLESS = {"PATH": "/opt/bin:/usr/bin", "LANG": "de_DE.UTF-8", "LC_ALL": "C", "TZ": "Europe/Berlin", "TERM": "xterm"}
MODEL = {"ANTHROPIC_API_KEY": "key", "ANTHROPIC_BASE_URL": "http://x", "CLAUDE_CODE_OAUTH_TOKEN": "token"}


def agent(parent: dict[str, str], **given: object) -> dict[str, str]:
    home, tmp = Path("/private/home"), Path("/private/tmp")
    return agent_environment(parent, run="r1", session="s1", home=home, tmp=tmp, **given)  # type: ignore[arg-type]


def command(parent: dict[str, str], **given: object) -> dict[str, str]:
    home, tmp = Path("/private/home"), Path("/private/tmp")
    return command_environment(parent, run="r1", session="s1", home=home, tmp=tmp, **given)  # type: ignore[arg-type]


def test_only_what_is_listed_is_handed_on() -> None:
    for made in (agent({**SECRETS, **HARMLESS}), command({**SECRETS, **HARMLESS})):
        assert "canary" not in made.values()
        assert HARMLESS.items() <= made.items()


def test_home_and_temporary_folder_are_private_and_the_run_is_marked() -> None:
    for made in (agent({"HOME": "/home/ada"}), command({"HOME": "/home/ada"})):
        assert (made["HOME"], made["TMPDIR"]) == ("/private/home", "/private/tmp")
        assert (made["CLAUDETM_RUN"], made["CLAUDETM_SESSION"]) == ("r1", "s1")


def test_the_model_s_credential_reaches_the_agent_alone() -> None:
    assert MODEL.items() <= agent(MODEL).items()
    assert not MODEL.keys() & command(MODEL).keys()


def test_git_finds_no_configuration_no_prompt_and_for_the_agent_no_protocol() -> None:
    for made in (agent({}), command({})):
        assert made["GIT_CONFIG_GLOBAL"] == made["GIT_CONFIG_SYSTEM"] == "/dev/null"
        assert made["GIT_TERMINAL_PROMPT"] == "0"
        assert made["GH_CONFIG_DIR"] == "/nonexistent"
    assert agent({})["GIT_ALLOW_PROTOCOL"] == "none"
    assert "GIT_ALLOW_PROTOCOL" not in command({})


def test_commits_carry_the_identity_where_there_is_one() -> None:
    made = agent({}, identity=("Ada", "ada@example.com"))
    assert made["GIT_AUTHOR_NAME"] == made["GIT_COMMITTER_NAME"] == "Ada"
    assert made["GIT_AUTHOR_EMAIL"] == made["GIT_COMMITTER_EMAIL"] == "ada@example.com"
    assert "GIT_AUTHOR_NAME" not in agent({})


def test_a_proxy_with_a_password_is_for_the_agent_alone() -> None:
    parent = {"HTTPS_PROXY": "http://ada:secret@proxy:1", "no_proxy": "localhost"}
    assert agent(parent)["HTTPS_PROXY"] == parent["HTTPS_PROXY"]
    assert "HTTPS_PROXY" not in command(parent)
    assert command(parent)["no_proxy"] == "localhost"


def test_the_user_can_let_a_variable_through() -> None:
    assert command({"DATABASE_URL": "x"}, also=("DATABASE_URL", "ABSENT"))["DATABASE_URL"] == "x"
    assert agent({"DATABASE_URL": "x"}, also=("DATABASE_URL",))["DATABASE_URL"] == "x"


def test_version_managers_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / ".pyenv").mkdir()
    assert command({"HOME": str(tmp_path)})["PYENV_ROOT"] == str(tmp_path / ".pyenv")
    assert "NVM_DIR" not in command({"HOME": str(tmp_path), "NVM_DIR": str(tmp_path / "gone")})


@pytest.mark.parametrize("name", sorted(TOOL_FOLDERS))
def test_version_managers_are_found_below_the_account_s_home_too(tmp_path: Path, name: str) -> None:
    """A HOME of its own, as under sudo or in a service, hides no program that is on the PATH."""
    real = account_home() / TOOL_FOLDERS[name]
    assert command({"HOME": str(tmp_path)}).get(name) == (str(real) if real.is_dir() else None)


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"])
def test_with_a_credential_the_cli_s_folder_is_private(tmp_path: Path, name: str) -> None:
    parent = {"HOME": str(tmp_path), name: "x", "CLAUDE_CONFIG_DIR": "/elsewhere"}
    assert claude_folder(parent, Path("/private")) == Path("/private/.claude")


def test_a_login_is_used_where_the_user_has_one(tmp_path: Path) -> None:
    parent = {"HOME": str(tmp_path)}
    assert claude_folder(parent, Path("/private")) == Path("/private/.claude")
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude/.credentials.json").write_text("{}")
    assert claude_folder(parent, Path("/private")) == tmp_path / ".claude"
    assert claude_folder({**parent, "CLAUDE_CONFIG_DIR": "/mine"}, Path("/private")) == Path("/mine")
