"""Which credential a session goes by, and what the CLI is given for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.agent.access import Access, choose, conflict, ways
from claudetm.adapters.agent.environment import agent_environment
from claudetm.config import resolve

KEY = "key-0123456789-abcdef"


def found(environment: dict[str, str], api: dict[str, Any] | None = None, *, folder: Path) -> Access | None:
    """Return what is chosen with this environment and this `api` section of the file, in an empty home."""
    return choose(resolved(environment, api, folder), {"HOME": str(folder), **environment})


def resolved(environment: dict[str, str], api: dict[str, Any] | None, folder: Path) -> Any:
    file = folder / "config.json"
    file.write_text(json.dumps({"api": api or {}}), encoding="utf-8")
    return resolve({}, environment, file)


@pytest.mark.parametrize(
    ("environment", "name", "variables"),
    [
        ({"ANTHROPIC_API_KEY": KEY}, "ANTHROPIC_API_KEY", {"ANTHROPIC_API_KEY": KEY}),
        ({"CLAUDETM_API_ANTHROPIC_API_KEY": KEY}, "CLAUDETM_API_ANTHROPIC_API_KEY", {"ANTHROPIC_API_KEY": KEY}),
        ({"CLAUDE_CODE_OAUTH_TOKEN": KEY}, "CLAUDE_CODE_OAUTH_TOKEN", {"CLAUDE_CODE_OAUTH_TOKEN": KEY}),
        (
            {"ANTHROPIC_AUTH_TOKEN": KEY, "ANTHROPIC_BASE_URL": "http://gateway"},
            "ANTHROPIC_AUTH_TOKEN with ANTHROPIC_BASE_URL",
            {"ANTHROPIC_AUTH_TOKEN": KEY, "ANTHROPIC_BASE_URL": "http://gateway"},
        ),
        (
            {"OPENROUTER_API_KEY": KEY},
            "OPENROUTER_API_KEY",
            {
                "ANTHROPIC_AUTH_TOKEN": KEY,
                "ANTHROPIC_API_KEY": "",
                "CLAUDE_CODE_OAUTH_TOKEN": "",
                "ANTHROPIC_BASE_URL": "https://openrouter.ai/api",
            },
        ),
    ],
)
def test_any_one_credential_of_the_environment_suffices(
    tmp_path: Path, environment: dict[str, str], name: str, variables: dict[str, str]
) -> None:
    assert found(environment, folder=tmp_path) == Access(name, variables)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1/", "http://127.0.0.1:9", "http://127.0.0.1:9/"]
)
def test_openrouter_s_address_loses_its_version(tmp_path: Path, address: str) -> None:
    for way in (
        found({"OPENROUTER_API_KEY": KEY, "OPENROUTER_BASE_URL": address}, folder=tmp_path),
        found({}, {"openrouter_api_key": KEY, "openrouter_base_url": address}, folder=tmp_path),
    ):
        assert way is not None
        assert way.variables["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9"


def test_the_file_s_key_is_used_with_the_file_s_address(tmp_path: Path) -> None:
    way = found({}, {"anthropic_api_key": KEY, "anthropic_base_url": "http://gateway"}, folder=tmp_path)
    assert way is not None
    assert way.name == f"api.anthropic_api_key in {tmp_path / 'config.json'}"
    assert way.variables == {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "http://gateway"}
    plain = found({}, {"anthropic_api_key": KEY, "anthropic_base_url": "https://api.anthropic.com"}, folder=tmp_path)
    assert plain is not None
    assert plain.variables == {"ANTHROPIC_API_KEY": KEY}


def test_the_environment_goes_before_the_file_and_the_file_before_the_login(tmp_path: Path) -> None:
    file = {"anthropic_api_key": KEY, "openrouter_api_key": KEY}
    environment = {"OPENROUTER_API_KEY": KEY}
    names = [way.name for way in ways(resolved(environment, file, tmp_path), {"HOME": str(tmp_path), **environment})]
    assert names == ["OPENROUTER_API_KEY", f"api.anthropic_api_key in {tmp_path / 'config.json'}"]
    login = tmp_path / ".claude" / ".credentials.json"
    login.parent.mkdir()
    login.touch()
    both = resolved({}, {"anthropic_api_key": KEY}, tmp_path)
    here = {"HOME": str(tmp_path)}
    assert conflict(both, here) == f"{names[1]} is used, although there is the login in {login}"
    assert conflict(resolved({}, None, tmp_path), here) == ""
    alone = choose(resolved({}, None, tmp_path), here)
    assert alone == Access(f"the login in {login}", {})


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert found({"ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": "http://x"}, folder=tmp_path) is None


def test_a_credential_is_in_no_representation(tmp_path: Path) -> None:
    assert KEY not in repr(found({"OPENROUTER_API_KEY": KEY}, folder=tmp_path))


def test_with_openrouter_no_other_credential_reaches_the_agent(tmp_path: Path) -> None:
    parent = {"HOME": str(tmp_path), "OPENROUTER_API_KEY": KEY, "ANTHROPIC_MODEL": "vendor/m"}
    way = found(parent, folder=tmp_path)
    assert way is not None
    home = tmp_path / "private"
    made = agent_environment({**parent, **way.variables}, run="r", session="s", home=home, tmp=tmp_path)
    assert made["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert (made["ANTHROPIC_API_KEY"], made["ANTHROPIC_BASE_URL"]) == ("", "https://openrouter.ai/api")
    assert "OPENROUTER_API_KEY" not in made
    assert made["CLAUDE_CONFIG_DIR"] == str(home / ".claude")
