"""What a session may do, decided before each tool call. Fails closed: whatever is not known here is denied.

The gate keeps an agent to its worktree and says why; it is no wall. A shell can spell anything, so what must not
happen is made impossible elsewhere: no credential, no protocol to push by, read-only mounts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from claudetm.ports.agent import WRITERS, Objection, Role

if TYPE_CHECKING:
    from claude_agent_sdk.types import HookContext, HookInput, HookJSONOutput

ANSWER: Final = "StructuredOutput"
"""The CLI's own tool that takes a session's answer."""

SKILL: Final = "Skill"
"""The CLI's own tool that loads a skill."""

_LOOK: Final = ("Read", "Glob", "Grep")
_CHANGE: Final = ("Edit", "Write")
_LOOKERS: Final = frozenset({Role.AUDITOR})
"""Roles whose answer is worth nothing without a look at anything: none of theirs is let through."""
_OBJECTIONS: Final = 2  # denials and schema errors share the CLI's 5 attempts at an answer
_PATHS: Final = {"Read": "file_path", "Edit": "file_path", "Write": "file_path", "Glob": "path", "Grep": "path"}
_PUSH: Final = re.compile(r"\bgit\b[^|;&\n]*\bpush\b|\bgh\s+(pr|api|repo|release)\b")


def tools(role: Role, skill: str = "") -> tuple[str, ...]:
    """Return the tools a role is given; where it may use a skill of the project, with the tool for that."""
    if role in {Role.PLANNER, Role.ANALYST}:
        return _LOOK
    found = (*_LOOK, "Bash", *_CHANGE) if role in WRITERS else (*_LOOK, "Bash")
    return (*found, SKILL) if skill else found


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a session may look and write: its worktree, and folders beside it that it may only read.

    `skill` is the one of the project that it may use.
    """

    role: Role
    worktree: Path
    readable: Sequence[Path] = ()
    skill: str = ""


def objection(bounds: Bounds, tool: str, arguments: Mapping[str, Any]) -> str:
    """Return why a call is denied, as a sentence for the agent; "" allows it."""
    if tool == ANSWER:
        return ""
    if tool not in tools(bounds.role, bounds.skill):
        return f"The tool {tool} is not available in this session."
    if arguments.get("run_in_background"):
        return "Nothing may run in the background: run it in the foreground, with a time limit."
    if tool == SKILL:
        return "" if arguments.get("skill") == bounds.skill else f"Only the skill {bounds.skill} may be used here."
    if tool == "Bash":
        return _command_objection(str(arguments.get("command", "")))
    return _path_objection(bounds, tool, arguments)


def _command_objection(command: str) -> str:
    if _PUSH.search(command):
        return (
            "Pushing and pull requests are done for you, after this session: commit your work, and leave it at that. "
            "There is no credential here."
        )
    return ""


def _path_objection(bounds: Bounds, tool: str, arguments: Mapping[str, Any]) -> str:
    path = str(arguments.get(_PATHS[tool]) or ".")
    if tool == "Glob" and (pattern := str(arguments.get("pattern", ""))).startswith(("/", "~", "..")):
        path = pattern.split("*", 1)[0]
    if path.startswith("~"):
        return f"{path} is outside the worktree {bounds.worktree}: give a path inside it."
    worktree = bounds.worktree.resolve()
    target = Path(worktree, path).resolve()
    if ".git" in target.parts or ".git" in Path(path).parts:
        return "Git's own files are not to be touched: use git."
    if target.is_relative_to(worktree):
        return ""
    if tool not in _CHANGE and any(target.is_relative_to(r.resolve()) for r in bounds.readable):
        return ""
    return f"{path} is outside the worktree {bounds.worktree}: stay inside it."


class Gate:
    """The PreToolUse hook of one session: `objection` for every call, and the caller's say over answers."""

    def __init__(self, bounds: Bounds, judge: Objection | None) -> None:
        self._bounds = bounds
        self._judge = judge
        self._objected = 0
        self._looked = bounds.role not in _LOOKERS
        self.denied: list[str] = []
        """Tools refused so far, in order; a refused answer is not among them."""
        self.failure: Exception | None = None
        """What the caller's judge raised. The CLI hears only that the answer was blocked."""

    async def __call__(self, call: HookInput, _tool_use_id: str | None, _context: HookContext) -> HookJSONOutput:
        """Answer allow or deny. An error here blocks the call (`on_failure="block"`)."""
        tool, arguments = str(call.get("tool_name", "")), call.get("tool_input")
        if not isinstance(arguments, Mapping):
            return _decision("The call has no arguments.")
        if tool == ANSWER:
            return _decision(await self._judged(arguments))
        reason = objection(self._bounds, tool, arguments)
        if reason:
            self.denied.append(tool)
        else:
            self._looked = True
        return _decision(reason)

    async def _judged(self, answer: Mapping[str, Any]) -> str:
        if not self._looked:
            return "Nothing was looked at in this session, so nothing can be said of it: read the work first."
        if self._judge is None or self._objected >= _OBJECTIONS:
            return ""
        try:
            reason = await self._judge(answer)
        except Exception as error:
            self.failure = error
            raise
        self._objected += bool(reason)
        return reason


def _decision(reason: str) -> HookJSONOutput:
    if not reason:
        return {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow"}}
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
    }
