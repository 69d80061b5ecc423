"""What this run is about to do at GitHub, kept in its clean room until it is over: a driver may die in the middle."""

from __future__ import annotations

import hashlib

from claudetm.adapters.git.run_repository import RunRepository


class Meant:
    """Intentions, each by its key. All of it blocks."""

    def __init__(self, repository: RunRepository) -> None:
        """Take the run's repository."""
        self._repository = repository

    def keep(self, key: str) -> None:
        """Remember that this is about to be done."""
        self._repository.room.keep(_ref(key), self._repository.base)

    def has(self, key: str) -> bool:
        """Whether it was about to be done, and is not known to be over."""
        return bool(self._repository.room.ref(_ref(key)))

    def drop(self, key: str) -> None:
        """Forget it: it is over."""
        self._repository.room.forget(_ref(key))


def _ref(key: str) -> str:
    return f"refs/claudetm/meant/{hashlib.sha256(key.encode()).hexdigest()[:32]}"
