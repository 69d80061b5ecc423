"""Where the tests of GitHub itself work, and that nothing of them stays open there.

Everything is called claudetm/live-<when>-<hex>/…; nothing else is ever written to, or deleted.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from claudetm.adapters.forge.github.access import find
from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, NotFound
from claudetm.adapters.forge.github.once import WAITS
from claudetm.adapters.forge.github.place import Hosted, api_of, git_host, hosted
from claudetm.bootstrap.github import ways_in
from claudetm.errors import ClaudetmError, ForgeBusy, UsageError

LOOKS: Final = (0.5, 1.0, 1.0, 2.0, 2.0, *(3.0,) * 18)
"""Seconds between looks at GitHub until what was done is shown: a minute in all."""
ABANDONED: Final = 6 * 3600.0
"""Seconds after which what a run of these tests has left is nobody's: none takes nearly as long."""

_OURS: Final = re.compile(r"claudetm/(?P<run>live-(?P<when>[0-9]{10})-[0-9a-f]{8})/(?:main|c[0-9]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A repository, who asks for it, and how many seconds lie between looks, the tests' and the forge's."""

    hosted: Hosted
    client: GithubClient
    token: Callable[[], str]
    looks: Sequence[float] = LOOKS
    waits: Sequence[float] = WAITS

    def at(self, path: str = "") -> str:
        """Return an address of the API within the repository."""
        return f"/repos/{self.hosted.repository}{path}"


# --- where ------------------------------------------------------------------------------------------------------


def place(environment: Mapping[str, str]) -> Place:
    """Return where CLAUDETM_LIVE_REPOSITORY is. Raises ClaudetmError, which says what is to be set or allowed."""
    name = environment.get("CLAUDETM_LIVE_REPOSITORY", "").strip()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UsageError(
            "Set CLAUDETM_LIVE_REPOSITORY=owner/name to a repository at GitHub that you may push to, made for this "
            "at best: branches and closed pull requests come and go there"
        )
    there = on_github(environment.get("GITHUB_API_URL", "").rstrip("/") or api_of("github.com"), name)
    server = git_host(there.api)
    if (token := find(server, environment)) is None:
        login, variable = ways_in(server)
        raise UsageError(f"There is no token for {server} to work in {name} with: {login}, or set {variable}")
    found = Place(there, GithubClient(there.api, token.value), lambda: token.value)
    refuse_unfit(found)
    return found


def on_github(api: str, name: str) -> Hosted:
    """Return a repository of an API, as the remote of a clone would say it."""
    parts = urlsplit(api)
    url = f"{parts.scheme}://{git_host(api)}{f':{parts.port}' if parts.port else ''}/{name}.git"
    found = hosted({"origin": url}, {}, api, {}, any_host=True)
    assert found is not None, url
    return found


def refuse_unfit(found: Place) -> None:
    """Raise UsageError for a repository or a token that these tests cannot work with."""
    name = found.hosted.repository
    try:
        about = found.client.get(found.at())
    except NotFound:
        raise UsageError(f"{name} is not there, or the token may not see it: correct one of them") from None
    if about["archived"] or not about.get("permissions", {}).get("push"):
        raise UsageError(
            f"Nothing can be pushed to {name} with this token: name another repository, or get write access"
        )
    if about.get("allow_merge_commit") is False:
        raise UsageError(f"{name} allows no merge commits, and these tests make some: allow them in its settings")
    with suppress(GithubRefused):
        if found.client.get("/user")["type"] == "User":
            return
    raise UsageError("The token is an app's, whose remarks are no person's: set one of yours")


def new_run(now: float) -> str:
    """Return an id that nobody has, and that tells when it was made (epoch seconds)."""
    return f"live-{int(now):010d}-{secrets.token_hex(4)}"


# --- what is left behind: nothing -------------------------------------------------------------------------------


def left(found: Place) -> dict[str, str]:
    """Return the branches that these tests have made, ever, and that are there; and where they stand."""
    refs = found.client.get(found.at("/git/matching-refs/heads/claudetm/live-"))
    tips = {str(ref["ref"]).removeprefix("refs/heads/"): str(ref["object"]["sha"]) for ref in refs}
    return {name: tip for name, tip in tips.items() if _OURS.fullmatch(name)}


def clear(found: Place, run_id: str) -> None:
    """Close the pull requests of one run and delete its branches; again where GitHub gave no answer."""
    for pause in found.looks[:3]:
        try:
            return _clear(found, run_id)
        except ForgeBusy:
            time.sleep(pause)
    return _clear(found, run_id)


def _clear(found: Place, run_id: str) -> None:
    """Do all of it, whatever becomes of each."""
    below = f"claudetm/{run_id}/"
    assert _OURS.fullmatch(f"{below}main"), run_id
    opened = found.client.pages(found.at("/pulls"), base=f"{below}main", state="open")
    with ExitStack() as each:  # from its end
        for branch in left(found):
            if branch.startswith(below):
                each.callback(_delete, found, branch)
        for pull in opened:
            each.callback(found.client.write, "PATCH", found.at(f"/pulls/{pull['number']}"), {"state": "closed"})


def _delete(found: Place, branch: str) -> None:
    named = found.at(f"/branches/{quote(branch, safe='')}")
    try:
        protected = found.client.get(named)["protected"]
    except NotFound:
        return
    if protected:
        with suppress(GithubRefused):  # of a pattern's: the branch itself has none
            found.client.write("DELETE", f"{named}/protection")
    try:
        found.client.write("DELETE", found.at(f"/git/refs/heads/{quote(branch)}"))
    except GithubRefused as refused:
        if "does not exist" not in refused.message:  # deleted meanwhile, as its pull request was merged
            raise


def sweep(found: Place, now: float) -> None:
    """Clear what runs of these tests have left that were killed long ago; `now` is in epoch seconds."""
    named = {m["run"]: float(m["when"]) for name in left(found) if (m := _OURS.fullmatch(name))}
    for run_id in [run_id for run_id, when in named.items() if now - when > ABANDONED]:
        clear(found, run_id)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the block is over; a second one does not wait. Of the main thread."""
    pressed: list[bool] = []

    def press(_number: int, _frame: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(True)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def main() -> None:
    """Say where the tests would work; exit with 1, and what to set, where they cannot."""
    try:
        found = place(os.environ)
        print(f"In {found.hosted.repository} as {found.client.login}, below claudetm/live-…: some minutes.")
    except ClaudetmError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
