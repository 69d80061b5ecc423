"""Switches of `start` go before the configuration, at both of their ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from terminal import SCENARIOS, bytes_of, terminal

pytestmark = pytest.mark.e2e

ON = {"auto_merge": True, "self_review": True, "verify": True, "pr_per_task": True, "trust_project_settings": True}
OFF = dict.fromkeys(ON, False)
KEYS = ("merge.auto", "reviews.self", "verify", "plan.pr_per_task", "trust_project_settings")
SWITCHED_ON = ("--auto-merge", "--review", "--verify", "--pr-per-task", "--trust-project-settings")
SWITCHED_OFF = ("--no-auto-merge", "--no-review", "--no-verify", "--no-pr-per-task")


@pytest.mark.parametrize(
    ("configured", "switches", "goes_by"),
    [
        (False, SWITCHED_ON, ON),
        (True, SWITCHED_OFF, {**OFF, "trust_project_settings": True}),  # trust is given, never taken back
        (False, (), OFF),
        (True, (), ON),
    ],
    ids=["on", "off", "configured off", "configured on"],
)
def test_a_switch_goes_before_the_configuration(
    tmp_path: Path, *, configured: bool, switches: tuple[str, ...], goes_by: dict[str, bool]
) -> None:
    person = terminal(tmp_path)
    person.state.mkdir(mode=0o700)
    (person.state / "config.json").write_text(json.dumps(dict.fromkeys(KEYS, configured)))
    goal = ("start", "Greet loudly", "--rehearse", str(SCENARIOS / "loud.yaml"))
    assert person(*goal, *switches, CLAUDETM_KILL_AT="after:1").returncode == -9
    [begun] = person.events()
    assert {name: begun["data"]["settings"].get(name, name in DEFAULTS) for name in goes_by} == goes_by


DEFAULTS = {"auto_merge", "self_review", "verify"}
"""What is on where nothing is said."""


def test_a_format_that_there_is_not_is_refused_before_the_demo_makes_anything(tmp_path: Path) -> None:
    person = terminal(tmp_path, repository=False)
    before = bytes_of(person.here, person.home)
    for option in (("--log-format", "xml"), ("--log-level", "loud")):
        refused = person("demo", "made", *option)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused
        assert option[1] in refused.stderr
    assert bytes_of(person.here, person.home) == before
