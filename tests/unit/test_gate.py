"""What a session may do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from claudetm.adapters.agent.gate import ANSWER, Bounds, Gate, objection, tools
from claudetm.ports.agent import WRITERS, Role


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A worktree with a link that leads out of it."""
    folder = tmp_path / "tree"
    (folder / "src").mkdir(parents=True)
    (tmp_path / "tree-beside").mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "in").symlink_to(folder / "src")
    return folder


def says(tree: Path, tool: str, role: Role = Role.WORKER, **arguments: Any) -> str:
    return objection(Bounds(role, tree), tool, arguments)


def test_each_role_has_its_tools() -> None:
    look = {"Read", "Glob", "Grep"}
    readers = {Role.PLANNER, Role.ANALYST}
    assert all(set(tools(role)) == look for role in readers)
    for role in set(Role) - WRITERS - readers:
        assert set(tools(role)) == {*look, "Bash"}
    for role in WRITERS:
        assert set(tools(role)) == {*look, "Bash", "Edit", "Write"}


@pytest.mark.parametrize("path", ["a.py", "src/a.py", "./src/../a.py", "in/a.py"])
def test_paths_inside_the_worktree_are_allowed(tree: Path, path: str) -> None:
    assert says(tree, "Write", file_path=path) == ""
    assert says(tree, "Edit", file_path=str(tree / path)) == ""
    assert says(tree, "Read", file_path=path) == ""
    assert says(tree, "Grep", path=path, pattern="x") == ""


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "src/../../x", "out/x", "~/x", "~root/x", "{tree}-beside/x", ".git/config", "src/.git/x"],
)
@pytest.mark.parametrize("tool", ["Read", "Edit", "Write", "Glob", "Grep"])
def test_paths_outside_the_worktree_are_denied(tree: Path, path: str, tool: str) -> None:
    key = "path" if tool in ("Glob", "Grep") else "file_path"
    assert objection(Bounds(Role.WORKER, tree), tool, {key: path.format(tree=tree)}) != ""


def test_a_link_to_git_s_files_is_denied(tree: Path) -> None:
    (tree / ".git").mkdir()
    (tree / "innocent").symlink_to(tree / ".git")
    assert says(tree, "Write", file_path="innocent/hooks/pre-commit") != ""


@pytest.mark.parametrize("pattern", ["/etc/*", "~/.ssh/*", "../**"])
def test_patterns_that_lead_out_are_denied(tree: Path, pattern: str) -> None:
    assert says(tree, "Glob", pattern=pattern) != ""


def test_a_search_without_a_path_is_one_of_the_worktree(tree: Path) -> None:
    assert says(tree, "Glob", pattern="**/*.py") == ""
    assert says(tree, "Grep", pattern="/etc") == ""


def test_readable_folders_can_be_read_only(tree: Path) -> None:
    bounds = Bounds(Role.WORKER, tree, (tree.parent / "tree-beside",))
    inside = {"file_path": str(tree.parent / "tree-beside/log.txt")}
    assert objection(bounds, "Read", inside) == ""
    assert objection(bounds, "Write", inside) != ""


@pytest.mark.parametrize("tool", ["WebFetch", "Agent", "Task", "CronCreate", "mcp__x__y", "", "read"])
def test_unknown_tools_are_denied(tree: Path, tool: str) -> None:
    assert says(tree, tool) != ""


def test_a_reader_cannot_write_and_a_planner_has_no_shell(tree: Path) -> None:
    assert says(tree, "Write", Role.REVIEWER, file_path="a.py") != ""
    assert says(tree, "Bash", Role.PLANNER, command="ls") != ""
    assert says(tree, "Bash", Role.VERIFIER, command="ls") == ""


def test_nothing_runs_in_the_background(tree: Path) -> None:
    assert "foreground" in says(tree, "Bash", command="make", run_in_background=True)


@pytest.mark.parametrize("command", ["git push", "cd x && git -C . push origin main", "gh pr create"])
def test_a_push_is_told_who_does_it(tree: Path, command: str) -> None:
    assert "done for you" in says(tree, "Bash", command=command)


@pytest.mark.parametrize(
    "command", ["git log", "git stash; echo pushed", "pytest -k push", "git commit -m 'x'; make push"]
)
def test_other_commands_are_allowed(tree: Path, command: str) -> None:
    assert says(tree, "Bash", command=command) == ""


def ask(gate: Gate, tool: str, arguments: Any) -> Mapping[str, Any]:
    call: Any = {"hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": arguments}
    answer = cast("dict[str, Any]", asyncio.run(gate(call, None, {"signal": None})))
    return cast("dict[str, Any]", answer["hookSpecificOutput"])


def test_the_gate_always_answers_allow_or_deny(tree: Path) -> None:
    gate = Gate(Bounds(Role.WORKER, tree), None)
    assert ask(gate, "Read", {"file_path": "a"})["permissionDecision"] == "allow"
    denied = ask(gate, "WebFetch", {"url": "x"})
    assert denied["permissionDecision"] == "deny"
    assert "WebFetch" in denied["permissionDecisionReason"]
    assert ask(gate, "Bash", None)["permissionDecision"] == "deny"
    assert gate.denied == ["WebFetch"]


def test_an_answer_is_refused_twice_and_then_taken(tree: Path) -> None:
    heard: list[Mapping[str, Any]] = []

    async def judge(answer: Mapping[str, Any]) -> str:
        heard.append(answer)
        return "Commit first."

    gate = Gate(Bounds(Role.PLANNER, tree), judge)
    answers = [ask(gate, ANSWER, {"outcome": "done"})["permissionDecision"] for _ in range(3)]
    assert answers == ["deny", "deny", "allow"]
    assert heard == [{"outcome": "done"}] * 2
    assert gate.denied == []


def test_an_accepted_answer_is_judged_each_time(tree: Path) -> None:
    reasons = iter(["", "Not yet.", "Nor now."])

    async def judge(_answer: Mapping[str, Any]) -> str:
        return next(reasons)

    gate = Gate(Bounds(Role.PLANNER, tree), judge)
    answers = [ask(gate, ANSWER, {})["permissionDecision"] for _ in range(4)]
    assert answers == ["allow", "deny", "deny", "allow"]


def test_an_audit_without_a_look_at_anything_is_never_taken(tree: Path) -> None:
    gate = Gate(Bounds(Role.AUDITOR, tree), None)
    answer = {"score": 100, "examined": ["all of it"]}
    for _ in range(5):
        assert "Nothing was looked at" in ask(gate, ANSWER, answer)["permissionDecisionReason"]
    ask(gate, "Read", {"file_path": "/etc/passwd"})
    assert ask(gate, ANSWER, answer)["permissionDecision"] == "deny", "what was refused is no look"
    ask(gate, "Read", {"file_path": "a"})
    assert ask(gate, ANSWER, answer)["permissionDecision"] == "allow"


# --- skills ------------------------------------------------------------------------------------------------------


def test_a_session_may_use_the_one_skill_that_it_was_told_of(tmp_path: Path) -> None:
    bounds = Bounds(Role.WORKER, tmp_path, skill="tidy")
    assert "Skill" in tools(Role.WORKER, "tidy")
    assert objection(bounds, "Skill", {"skill": "tidy"}) == ""
    for other in ("tidy2", "plugin:tidy", "", None, ["tidy"]):
        assert objection(bounds, "Skill", {"skill": other}) == "Only the skill tidy may be used here."
    assert objection(bounds, "Skill", {"command": "tidy"}) == "Only the skill tidy may be used here."


def test_without_a_skill_there_is_no_tool_for_one(tmp_path: Path) -> None:
    assert "Skill" not in tools(Role.WORKER)
    for arguments in ({"skill": ""}, {}, {"skill": "tidy"}):
        assert objection(Bounds(Role.WORKER, tmp_path), "Skill", arguments) == (
            "The tool Skill is not available in this session."
        )


def test_a_role_that_only_reads_runs_nothing_by_a_skill() -> None:
    assert "Skill" not in tools(Role.ANALYST, "tidy")
