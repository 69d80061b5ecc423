"""Where the CLI is that sessions run on. Found without loading the SDK, which takes most of a second."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from claudetm.errors import AgentError


def find_cli(search: str | None) -> Path:
    """Return the CLI: the one in the SDK's wheel, else the one on the search path. Raises AgentError without."""
    sdk = importlib.util.find_spec("claude_agent_sdk")
    if sdk is not None and sdk.origin is not None:
        bundled = Path(sdk.origin).with_name("_bundled") / "claude"
        if bundled.exists():
            return bundled
    if found := shutil.which("claude", path=search):
        return Path(found).resolve()
    raise AgentError(
        "This build of claude-agent-sdk carries no CLI: install Claude Code so that `claude` is on PATH."
    )


def cli_on_path(search: str | None) -> Path:
    """Return the `claude` that is found on the search path. Raises AgentError, which says how to come by one."""
    if found := shutil.which("claude", path=search):
        return Path(found).resolve()
    raise AgentError(
        "Claude CLI is not available: there is no `claude` on PATH, and agent.cli is path (--use-cli-mode); install "
        "it with `npm install -g @anthropic-ai/claude-code` and log in with `claude`, or set agent.cli to bundled."
    )
