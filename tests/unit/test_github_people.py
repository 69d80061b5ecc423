"""Who is listened to on GitHub: whom a setting names, letter for letter, and who may write to the repository."""

from __future__ import annotations

from typing import Any

import pytest

from claudetm.adapters.forge.github.people import People
from claudetm.adapters.forge.github.reviews import Author


class Strangers:
    """A repository to which nobody may write."""

    def get(self, path: str, **params: Any) -> Any:
        """Return a permission."""
        assert path.endswith("/permission")
        assert not params
        return {"permission": "read"}


@pytest.mark.parametrize(
    ("named", "who", "heard"),
    [
        ("helper", Author("Helper", "User"), True),
        ("helper", Author("helper[bot]", "Bot"), False),
        ("helper[bot]", Author("helper[bot]", "Bot"), True),
        ("helper[bot]", Author("helper", "User"), False),
    ],
)
def test_a_person_and_a_bot_of_the_same_name_are_trusted_each_by_its_own(
    named: str, who: Author, heard: bool
) -> None:
    people = People(Strangers(), "acme/widgets", lambda: [named])
    assert people.hears(who) is heard
