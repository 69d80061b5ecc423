"""Who is listened to on GitHub: whose words reach an agent and count. Asked once an hour for each account."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote

from claudetm.adapters.forge.github.refusals import GithubRefused, Unauthorised
from claudetm.adapters.forge.github.reviews import Author

HOUR: Final = 3600.0

_MAY_WRITE: Final = frozenset({"write", "maintain", "admin"})
_OF_THE_HOUSE: Final = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})


class Gets(Protocol):
    """What is asked of `GithubClient` here."""

    def get(self, path: str, **params: Any) -> Any:
        """Return what a path holds."""
        ...


class People:
    """The accounts of one repository: those that may write there, and whoever `trusted` names, bots included."""

    def __init__(
        self,
        client: Gets,
        repository: str,
        trusted: Callable[[], Sequence[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the repository's full name; `trusted` is read anew each time, as the setting may change."""
        self._client = client
        self._repository = repository
        self._trusted = trusted
        self._clock = clock
        self._levels: dict[str, tuple[float, str]] = {}
        self._of_the_house: set[str] = set()  # as GitHub says beside their remarks; of commits it does not

    def hears(self, who: Author) -> bool:
        """Whether somebody is listened to. Raises ForgeBusy where GitHub does not tell."""
        names = {name.casefold() for name in self._trusted()}
        name = who.name.casefold()
        if name in names:  # a bot as NAME[bot]: the person of that name is somebody else
            return True
        if not who.person:
            return False
        if who.association in _OF_THE_HOUSE:
            self._of_the_house.add(name)
        level = self._level(name)
        return level in _MAY_WRITE if level else name in self._of_the_house

    def _level(self, name: str) -> str:
        """Return an account's permission, "" where the token may not know it."""
        asked, level = self._levels.get(name, (float("-inf"), ""))
        if self._clock() - asked < HOUR:
            return level
        path = f"/repos/{self._repository}/collaborators/{quote(name, safe='')}/permission"
        try:
            level = str(self._client.get(path)["permission"])
        except Unauthorised:
            raise
        except GithubRefused:
            level = ""
        self._levels[name] = self._clock(), level
        return level
