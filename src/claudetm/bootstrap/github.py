"""Beginning a run on GitHub: where its pull requests live, with which token, and whether that could ever end well.

All of it is asked before anything is written, as a run that finds out at its first push has spent sessions by then.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from claudetm.adapters.forge.github.access import Token, find, is_actions_token, ssh_host
from claudetm.adapters.forge.github.facts import Asks, Facts, facts, pushed_to
from claudetm.adapters.forge.github.place import (
    Hosted,
    address,
    git_host,
    hosted,
    is_another,
    parse_issue,
    parse_pull,
)
from claudetm.adapters.forge.github.refusals import Unauthorised
from claudetm.adapters.git.git import GitFailed, identity
from claudetm.bootstrap.github_goal import (
    Told,
    at_work_on,
    goal_of_issue,
    goal_of_pull,
    head_of,
    open_issue,
    open_pull,
    stranger,
)
from claudetm.errors import ConfigError, ForgeBusy, ForgeError, Untested, UsageError
from claudetm.workflow.run import ADOPTED

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.client import GithubClient
    from claudetm.adapters.git.remote import Remote
    from claudetm.adapters.git.run_repository import RunRepository
    from claudetm.adapters.git.user_repository import UserRepository
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.config import Resolved
    from claudetm.ports.forge import Forge
    from claudetm.workflow.policy import Policy
    from claudetm.workflow.run import Run

PATIENCE: Final = 20.0  # seconds that a read is repeated for, while a run is driven
AT_ONCE: Final = 6.0  # while somebody waits for a start
STALLED: Final = 10  # seconds without a byte that git is waited for then
Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a run on GitHub begins. `goal` is the user's, or what the issue or the pull request says."""

    hosted: Hosted
    facts: Facts
    target: str
    base: str
    goal: str
    token: Token
    adopts: int = 0
    issue: int = 0
    lent: bool = False  # the adopted pull request's branch is of somebody's fork, who lets maintainers push to it
    warning: str = ""  # what the user should know of whose words and code these are
    unseen: bool = False  # a stranger's code, which is merged only where that was asked for
    left_out: int = 0  # bytes of the issue or the pull request that a goal has no room for


# --- which forge ------------------------------------------------------------------------------------------------


def forge_used(resolved: Resolved, user: UserRepository, notice: Notice, *, rehearsed: bool = False) -> Hosted | None:
    """Return where on GitHub pull requests live, None where in the repository. Says which, where it may surprise.

    Nothing is asked over the network. A rehearsal opens pull requests on GitHub only where that is asked for.
    """
    wanted = resolved["forge"]
    if wanted == "local":
        return None
    asked = wanted == "github"
    found = hosted(
        user.remotes,
        user.push_urls,
        resolved["github.api_url"],
        os.environ,
        lambda alias: ssh_host(alias, os.environ),
        any_host=asked,
    )
    elsewhere = [place.host for url in user.remotes.values() if (place := address(url)) is not None]
    if found is None and asked and elsewhere:
        raise ConfigError(
            f"{elsewhere[0]} is not known to be GitHub, so no pull request can be opened there: set github.api_url "
            "if it is, correct the remote, or pass --forge local"
        )
    if found is None and asked:
        raise ConfigError("No remote here can be on GitHub: git remote add origin ADDRESS, or pass --forge local")
    if found is None:
        if elsewhere:
            way = "set github.api_url if it is" if is_another(elsewhere[0]) else "--forge github takes it for one"
            notice(f"forge: local; {elsewhere[0]} is not known to be GitHub ({way})")
        return None
    if rehearsed and not asked:
        notice("forge: local, as this is a rehearsal; --forge github opens its pull requests on GitHub")
        return None
    notice(f"forge: GitHub, {found.repository}{f'; pushes to {pushed_to(found)}' if found.forked else ''}")
    return found


# --- with which token -------------------------------------------------------------------------------------------


def token_of(place: Hosted, *, movable: bool = False) -> Token:
    """Return the token for where pull requests live, found anew. Raises ConfigError, naming the ways out.

    `movable` says that what is called can be told to go by the local forge.
    """
    server = git_host(place.api)
    if (found := find(server, os.environ)) is None:
        login, variable = ways_in(server)
        ways = f"{login}, set {variable}, or pass --forge local" if movable else f"{login}, or set {variable}"
        raise ConfigError(f"{place.repository} is on GitHub, and there is no token for {server}: {ways}")
    refuse_misshapen(found)
    return found


def refuse_misshapen(token: Token) -> None:
    """Raise ConfigError for what no header could carry: said by where it stands, never by what it is."""
    if not re.fullmatch(r"[!-~]+", token.value):
        raise ConfigError(
            f"The token of {token.source} holds a line break, a blank or a sign that no token has: set it anew"
        )


def renewal(server: str, token: Token) -> str:
    """Return what helps where a host refuses a token. A variable goes before gh's login, so that alone is no way."""
    login, variable = ways_in(server)
    if " " in token.source:  # gh's
        return f"{login} again, or set {variable} to a valid one"
    return f"set {token.source} to a valid one, or remove it and {login}"


def ways_in(server: str) -> tuple[str, str]:
    """Return how to log in to a host, and the variable that a token for it goes into."""
    if server == "github.com" or server.endswith(".ghe.com"):
        return f"`gh auth login{'' if server == 'github.com' else f' --hostname {server}'}`", "GH_TOKEN"
    return f"`gh auth login --hostname {server}`", "GH_ENTERPRISE_TOKEN"


def client_of(place: Hosted, token: Token, patience: float = PATIENCE) -> GithubClient:
    """Return who asks GitHub. PyGithub is loaded here, and only where pull requests live there.

    `patience` is how many seconds a read is repeated for.
    """
    from claudetm.adapters.forge.github.client import GithubClient

    refuse_misshapen(token)
    return GithubClient(place.api, token.value, patience=patience)


# --- where it begins --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for at the start; `adopts` and `issue` are numbers or addresses, or ""."""

    target: str
    run: str
    goal: str
    adopts: str = ""
    issue: str = ""
    trusted: Sequence[str] = ()
    dry: bool = False  # nothing is ever pushed
    merges: bool = False  # merging by itself was asked for on the command line


def refuse_misnamed(place: Hosted | None, adopts: str, issue: str) -> None:
    """Raise UsageError where a pull request or an issue is named that can be none of this repository's."""
    if place is None:
        if what := "--from-issue" if issue else "fix-pr" if adopts else "":
            raise UsageError(
                f"{what} asks GitHub, and this run is on the local forge; call it in a clone from GitHub"
            )
        return
    if adopts:
        parse_pull(adopts, place)
    if issue:
        parse_issue(issue, place)


def explored(place: Hosted | None, wanted: Wanted, user: UserRepository, notice: Notice) -> Ground | None:
    """Return where the run begins on GitHub, None for the local forge. Raises ClaudetmError, in one sentence."""
    refuse_misnamed(place, wanted.adopts, wanted.issue)
    if place is None:
        return None
    movable = not wanted.adopts and not wanted.issue
    token = token_of(place, movable=movable)
    try:
        ground = survey(client_of(place, token, AT_ONCE), token, place, wanted)
        if not wanted.dry and not ground.lent:
            try_push(ground.hosted, user.author)
    except Unauthorised as error:
        raise _refused(place, token) from error
    except ForgeBusy as error:
        why = str(error).partition(": it ")[0].rstrip(".")
        other = ", or pass --forge local" if movable else ""
        raise ForgeError(f"{why}: call the same again once that is over{other}") from error
    for sentence in filter(None, (unpushed(user, ground.target, ground.base), ground.warning, shortened(ground))):
        notice(sentence)
    return ground


def shortened(ground: Ground) -> str:
    """Return what to say of a goal that was cut, or ""."""
    if not ground.left_out:
        return ""
    what = f"issue #{ground.issue}" if ground.issue else f"pull request #{ground.adopts}"
    kept, gone = (f"{math.ceil(n / 1024)} KiB" for n in (len(ground.goal.encode()), ground.left_out))
    return f"goal: the first {kept} of {what}; {gone} more are left out, so name what matters there in a goal"


def token_again(place: Hosted) -> Token:
    """Return the token for a run that is carried on. Raises ConfigError where it is gone, or is none any more.

    A GitHub that cannot be reached now is waited for by the run itself.
    """
    token = token_of(place)
    try:
        client_of(place, token, AT_ONCE).get("/rate_limit")  # costs nothing
    except Unauthorised as error:
        raise _refused(place, token) from error
    except ForgeError:
        pass
    return token


def _refused(place: Hosted, token: Token) -> ConfigError:
    server = git_host(place.api)
    return ConfigError(f"{server} refuses the token of {token.source}: {renewal(server, token)}")


def survey(client: Asks, token: Token, place: Hosted, wanted: Wanted) -> Ground:
    """Return where the run begins. Raises ClaudetmError, in one sentence, for what would never end well."""
    target, told, lent, warning, unseen = wanted.target, Told(wanted.goal), False, "", False
    known = known_of(client, token, place, target, f"claudetm/{wanted.run}/c1")
    refuse_unseen(known, token, place)
    adopts = parse_pull(wanted.adopts, place) if wanted.adopts else 0
    if adopts:
        pull = open_pull(client, place, adopts)
        if who := stranger(client, place, pull, wanted.trusted):
            warning = (
                f"pull request #{adopts} is by {who}, who is not listened to here: read it before its code runs on "
                "this machine (--sandbox on confines it)"
            )
            unseen = not wanted.merges
        target, told = str(pull["base"]["ref"]), told if told.goal else goal_of_pull(pull, who)
        place, before = head_of(pull, place), {place.repository, pushed_to(place)}
        lent = pushed_to(place) not in before
        known = known_of(client, token, place, target, str(pull["head"]["ref"]))
    issue = parse_issue(wanted.issue, place) if wanted.issue else 0
    if issue:
        if who := stranger(client, place, open_issue(client, place, issue), wanted.trusted):
            warning = f"issue #{issue} is by {who}, who is not listened to here: agents take its text for your goal"
        told = goal_of_issue(client, place, issue, wanted.goal, wanted.trusted)
        warning = "; ".join(filter(None, (warning, at_work_on(client, place, issue))))
    refuse_unfinishable(known, place, target)
    if not wanted.dry:
        refuse_unpushable(replace(known, push_permission=known.permission) if lent else known, token, place)
    refuse_unsigned(known, place, target)
    return Ground(
        place, known, target, known.tip, told.goal, token, adopts, issue, lent, warning, unseen, told.left_out
    )


def known_of(client: Asks, token: Token, place: Hosted, target: str, branch: str) -> Facts:
    """Return a repository's facts. An installation's token has permissions of its own, which nothing there tells."""
    known = facts(client, place, target, branch)
    if token.value.startswith(_INSTALLATION):
        return replace(known, permission="", push_permission="")
    return known


_INSTALLATION: Final = "ghs_"


def is_workflows_own(token: Token, known: Facts) -> bool:
    """Whether it is the token that a workflow of Actions was given; GitHub names its account in two ways."""
    login = known.login and f"{known.login.removesuffix('[bot]')}[bot]"
    return is_actions_token(token, os.environ, login)


def refuse_unseen(known: Facts, token: Token, place: Hosted) -> None:
    """Raise ForgeError for a repository that is not there, or not for this token."""
    server = git_host(place.api)
    if not known.seen:
        why = f" ({known.refused})" if known.refused else ""
        raise ForgeError(
            f"{place.repository} is not at {server}, or the token of {token.source} may not see it{why}: give it "
            "access, set another, or correct the remote"
        )
    if not known.push_seen:
        raise ForgeError(
            f"{place.push} is pushed to, and the token of {token.source} may not see it: give it access, or correct "
            "that remote"
        )


def refuse_unfinishable(known: Facts, place: Hosted, target: str) -> None:
    """Raise ForgeError for what nothing can be merged into."""
    if known.archived or known.disabled:
        raise ForgeError(
            f"{place.repository} is {'archived' if known.archived else 'disabled'} at GitHub, so nothing can be "
            "merged there: open it again, or pass --forge local"
        )
    if not known.tip:
        there = f" (the default one is {known.default})" if known.default else ""
        raise ForgeError(
            f"{place.repository} has no branch {target} at GitHub{there}: push it, or name another with --base"
        )
    if not known.methods:
        raise ForgeError(
            f"{place.repository} allows no way of merging a pull request into {target}: allow one in its settings, "
            "or change the rules of that branch"
        )


def refuse_unpushable(known: Facts, token: Token, place: Hosted) -> None:
    """Raise ForgeError for a token that could push nothing."""
    to = known.push_to or place.repository
    if not known.may_push:
        raise ForgeError(
            f"{known.login} may not push to {to} ({known.push_permission.lower()} only): ask for write access, use "
            "another token, or let origin be a fork of yours and upstream be this"
        )
    if "repo" in known.lacking:
        raise ForgeError(
            f"The token of {token.source} lacks the scope repo, so it could push nothing to {to}: "
            "`gh auth refresh --scopes repo`, or make one that has it"
        )


def refuse_unsigned(known: Facts, place: Hosted, target: str) -> None:
    """Raise ForgeError where commits must be signed: GitHub merges no unsigned commit there, squashed or not.

    The rule is held against the pull request's own commits, and agents have no key to sign them with.
    """
    if known.signatures or known.signed_branches:
        where = target if known.signatures else "claudetm/…"
        raise ForgeError(
            f"{place.repository} requires signed commits on {where}, and a run's commits are not signed: exempt it "
            "in the rules of that branch, or pass --forge local and sign what comes of it"
        )


# --- by which settings ------------------------------------------------------------------------------------------


def fitted(found: Policy, ground: Ground, resolved: Resolved, notice: Notice) -> Policy:
    """Return the policy as it can be kept there. Raises ConfigError for what was asked for and cannot be."""
    if _default(resolved, "reviews.self"):
        found = replace(found, self_review=False)  # people and CI look there
    if ground.unseen:
        notice(
            f"merging: pull request #{ground.adopts} is a stranger's, so it is not merged by itself: merge it at "
            "GitHub once you have read it, or pass --auto-merge"
        )
        found = replace(found, auto_merge=False)
    found = _mergeable(replace(found, merge_method=method(found, ground, resolved, notice)), ground, notice)
    refuse_unchecked(found, ground, notice)
    if ground.facts.parent and not ground.hosted.forked:
        notice(
            f"forge: {ground.facts.repository} is a fork of {ground.facts.parent}, and pull requests are opened in "
            "it; a remote called upstream takes them there"
        )
    if ground.facts.kept_closed:
        notice("push: a ruleset restricts making branches called claudetm/…; without leave to bypass it none is made")
    return found


def _default(resolved: Resolved, name: str) -> bool:
    return resolved.settings[name].source == "default"


def method(found: Policy, ground: Ground, resolved: Resolved, notice: Notice) -> str:
    """Return how pull requests are merged. Raises ConfigError where what is set is not allowed there."""
    allowed, wanted = ground.facts.methods, found.merge_method
    if wanted in allowed:
        return wanted
    if not _default(resolved, "merge.method"):
        raise ConfigError(
            f"{ground.hosted.repository} does not allow merge.method {wanted} on {ground.target}: set it to "
            f"{' or '.join(allowed)}"
        )
    notice(f"merge.method: {allowed[0]}, the first that {ground.hosted.repository} allows")
    return allowed[0]


def _mergeable(found: Policy, ground: Ground, notice: Notice) -> Policy:
    known = ground.facts
    if found.auto_merge and not known.may_merge:
        notice(
            f"merging: left to others, as {known.login} may not merge into {known.repository}; "
            "the run stops where a pull request is ready"
        )
        return replace(found, auto_merge=False)
    return found


def refuse_unchecked(found: Policy, ground: Ground, notice: Notice) -> None:
    """Raise ConfigError where nothing would ever report; say what gates a merge."""
    known = ground.facts
    if is_workflows_own(ground.token, known):
        if known.required:
            raise ConfigError(
                "Pull requests opened with the GITHUB_TOKEN of a workflow start no workflow, so the required checks "
                f"({', '.join(known.required[:3])}) would never report: set GH_TOKEN to another token"
            )
        notice(
            "checks: pull requests opened with a workflow's GITHUB_TOKEN start no workflow; set GH_TOKEN to another"
        )
    if not known.unchecked:
        named = ", ".join(known.required or known.workflows) or "what reports at GitHub"
        notice(f"checks: {named} ({'required' if known.required else 'at GitHub'})")
    elif found.checks_none == "block":
        raise Untested(
            f"No checks were found for {ground.target} of {ground.hosted.repository} (no workflow for pull requests, "
            "nothing required, nothing reported), and zero checks is not green: add a workflow, or let checks.none "
            "be pass (--no-checks), which merges what no check has reported on, as where CI reports on pull requests "
            "alone",
            f"No checks were found for {ground.target} of {ground.hosted.repository} (no workflow for pull requests, "
            "nothing required, nothing reported), and zero checks is not green: add a workflow, or `claudetm config "
            "set checks.none pass`, where CI reports on pull requests alone, then `claudetm resume`; a task with "
            "`mode: session` needs none",
        )
    else:
        notice("checks: none at GitHub; as checks.none is pass, what no check has reported on is merged")


def awaited(found: Policy, approvals: int) -> str:
    """Return in words which people a pull request waits for, where so many approvals are required."""
    if approvals:
        return f"{approvals} approval{'' if approvals == 1 else 's'} of people on GitHub required"
    if found.review_wait:
        return f"none required; people on GitHub have {found.review_wait / 60:g} minutes for one"
    return "none required" + ("; it merges once green" if found.auto_merge else "")


def unpushed(user: UserRepository, target: str, base: str) -> str:
    """Return what to say of commits of the local target branch that GitHub, where it is at `base`, lacks, or ""."""
    git, local = user.refs.git, user.refs.find(f"refs/heads/{target}")
    if local is None or local.commit == base:
        return ""
    known = _has(user, base)
    tracked = [name for name in user.refs.list("refs/remotes") if name.endswith(f"/{target}")]
    if not known and not tracked:
        return ""
    exclude = [base] if known else tracked
    count = int(git.text("rev-list", "--count", local.commit, "--not", *exclude).strip())
    if not count:
        return ""
    many = f"{count} commits of {target} are" if count > 1 else f"1 commit of {target} is"
    them = "they are" if count > 1 else "it is"
    return f"{many} not on GitHub, so {them} no part of the run: push first if that is not meant"


def _has(user: UserRepository, commit: str) -> bool:
    try:
        user.refs.git.run("cat-file", "-e", f"{commit}^{{commit}}")
    except GitFailed:
        return False
    return True


# --- what drives it ---------------------------------------------------------------------------------------------


def adopted_branch(run: Run) -> str:
    """Return the branch of the pull request that a run has adopted; "" where it made its own."""
    change = run.changes.get(ADOPTED) if run.adopts else None
    return change.branch if change is not None else ""


def remote_of(place: Hosted) -> Remote:
    """Return git's way there. The token is found anew for each connection: one that expires is renewed by gh."""
    from claudetm.adapters.git.remote import Remote

    return Remote(place.url, place.push, lambda: token_of(place).value, os.environ)


def try_push(place: Hosted, author: str) -> None:
    """Raise what pushing a branch would raise, while somebody waits; nothing moves."""
    from claudetm.adapters.git.remote import Remote

    Remote(place.url, place.push, lambda: token_of(place).value, os.environ, stalled=STALLED).try_push(author)


def forge_of(place: Hosted, token: Token, run: Run, repository: RunRepository, state: StateDirectory) -> Forge:
    """Return the forge of a run on GitHub, from what its journal says of it."""
    from claudetm.adapters.forge.github.forge import GitHubForge
    from claudetm.adapters.forge.github.reading import Reading

    client = client_of(place, token)
    email = identity(run.author)["GIT_AUTHOR_EMAIL"]
    return GitHubForge(
        client,
        place,
        run.target,
        repository,
        Reading(client, place, run.target, lambda: run.policy.trusted, email),
        merged=lambda: [c.merge_commit for c in run.changes.values() if c.merge_commit],
        hint=state.root / "forge" / "hint",
        logs=state.logs / "checks",
    )
