"""Where a session or a question begins: at the newest of the target branch, which is GitHub's where goals go there.

A clone that nobody fetches in stands still, and a service may work in one for weeks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from claudetm.adapters.forge.github.access import find
from claudetm.adapters.forge.github.place import Hosted, git_host
from claudetm.adapters.git.clean_room import CleanRoom
from claudetm.adapters.git.remote import Remote, branch_ref
from claudetm.adapters.git.run_repository import one_at_a_time
from claudetm.adapters.git.user_repository import UserRepository
from claudetm.bootstrap import github
from claudetm.bootstrap.modes import place_of
from claudetm.config import Resolved
from claudetm.errors import ClaudetmError


def newest(
    resolved: Resolved, user: UserRepository, notice: Callable[[str], None], *, rehearsed: bool, pushes: bool
) -> UserRepository:
    """Return the repository with the base that its target has at GitHub, brought in; as it is where that is no use.

    What is not pushed yet is the user's newest, so it stays the base, unless the work upon it is to be pushed. Where
    GitHub is out of reach, `notice` is told so.
    """
    if resolved["forge"] == "local" or (rehearsed and resolved["forge"] != "github"):
        return user
    try:
        place = place_of(resolved, user)
        tip = _tip(place, user) if place is not None else user.base
    except ClaudetmError as error:
        why = " ".join(str(error).split()).rstrip(".")
        notice(f"base: {user.target} as it stands here, at {user.base[:10]}, as GitHub could not be asked: {why}")
        return user
    if not tip:
        notice(f"base: {user.target} as it stands here, at {user.base[:10]}, as GitHub has no branch of that name")
        return user
    if tip == user.base or (not pushes and _contains(user, tip)):
        return user
    if sentence := github.unpushed(user, user.target, tip):
        notice(sentence)
    notes = (note.replace(user.base[:10], tip[:10]) for note in user.notes)
    return replace(user, base=tip, notes=tuple(notes))


def _tip(place: Hosted, user: UserRepository) -> str:
    """Bring the target's tip into the user's repository, one at a time; "" where it has no such branch there.

    What is public is had without a token.
    """
    token = find(git_host(place.api), os.environ)
    remote = Remote(place.url, "", lambda: token.value if token else "", os.environ, stalled=github.STALLED)
    with one_at_a_time(user.common_dir):
        return remote.tip(CleanRoom(user.common_dir, user.author), branch_ref(user.target), remote.main)


def _contains(user: UserRepository, tip: str) -> bool:
    return not user.refs.git.run("merge-base", "--is-ancestor", tip, user.base, accept=(0, 1)).code
