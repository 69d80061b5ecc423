"""What a user can set of issues as tasks, as one plain value."""

from __future__ import annotations

from dataclasses import dataclass

from claudetm.ports.source import Mode


@dataclass(frozen=True, slots=True)
class GithubIssuesSettings:
    """What a user can set. `trusted` are accounts that are listened to besides those that may write.

    `accounts` are those of other monitors, whose claims count also where they are not listened to: an app's, say.
    """

    monitor_id: str  # tells this monitor from others, and stays the same when it starts again
    label: str = "claudetm"
    mode: Mode = Mode.GOAL
    trusted: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    skill: str = ""
