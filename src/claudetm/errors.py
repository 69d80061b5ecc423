"""The errors a user can do something about. Each is one sentence: the thing, the reason and the remedy."""

from __future__ import annotations

from typing import ClassVar


class ClaudetmError(Exception):
    """A known error: printed as one sentence, with this exit code."""

    code: int = 1


class UsageError(ClaudetmError):
    """The command was called wrongly, or cannot be applied where the run stands."""


class ConfigError(ClaudetmError):
    """A setting is unknown or unusable."""


class Untested(ConfigError):  # noqa: N818 - a fact about the repository
    """Nothing could test the work, and nobody has said that this is meant."""

    def __init__(self, sentence: str, of_task: str) -> None:
        """Say it to who starts a run, and to whom a task of the monitor fails for it: a task has no options."""
        super().__init__(sentence)
        self.of_task = of_task


class RepositoryError(ClaudetmError):
    """The repository cannot be worked in."""


class JournalError(ClaudetmError):
    """The journal is damaged, foreign or from a newer version."""


class LockLost(ClaudetmError):  # noqa: N818 - a fact about the lock
    """Another process drives the run, or the lock file was removed under this one."""


class StoreError(ClaudetmError):
    """The state directory cannot be read or written."""


class ServiceError(ClaudetmError):
    """The service manager is not there, or refused."""


class AgentError(ClaudetmError):
    """The agent cannot be started at all."""


class ForgeError(ClaudetmError):
    """The forge refused, or cannot be reached."""


class ForgeBusy(ForgeError):  # noqa: N818 - a fact about the forge
    """The forge cannot be asked now: it is out of reach, or its quota is used up. Nothing is wrong with the run."""

    alone: ClassVar[bool] = False
    """Whether it may be so of one pull request alone, while work on others can go on."""

    def __init__(self, sentence: str, until: float) -> None:
        """Say why, and when to ask again (epoch seconds)."""
        super().__init__(sentence)
        self.until = until
