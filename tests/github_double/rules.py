"""What follows from what GitHub knows: who may do what, what is required of a pull request, and what it lacks.

Nothing here changes anything but the counts of how often something was asked that takes GitHub a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from github_double import plumbing
from github_double.state import (
    LEVELS,
    CheckRun,
    CommitStatus,
    Level,
    Protection,
    PullRequest,
    Repository,
    Review,
    Ruleset,
    State,
    Token,
)

Mergeable = Literal["MERGEABLE", "CONFLICTING", "UNKNOWN"]
MergeState = Literal["CLEAN", "UNSTABLE", "BLOCKED", "BEHIND", "DIRTY", "DRAFT", "UNKNOWN"]
Rollup = Literal["SUCCESS", "FAILURE", "ERROR", "PENDING", "EXPECTED"]
Decision = Literal["APPROVED", "CHANGES_REQUESTED", "REVIEW_REQUIRED"]
PASSING = frozenset({"success", "skipped", "neutral"})
METHODS = ("merge", "squash", "rebase")

# Who may do what


def permission(repository: Repository, login: str) -> Level:
    """Return what an account may do there."""
    given = {name.casefold(): level for name, level in repository.permissions.items()}
    public: Level = "read" if repository.visibility == "public" else "none"
    return given.get(login.casefold().removesuffix("[bot]"), public)


def at_least(repository: Repository, login: str, level: Level) -> bool:
    """Whether an account may do as much there."""
    return LEVELS.index(permission(repository, login)) >= LEVELS.index(level)


def sees(token: Token | None, repository: Repository) -> bool:
    """Whether the repository exists for whoever holds the token."""
    if token is None:
        return repository.visibility == "public"
    if repository.visibility == "public":
        return True
    chosen = token.repositories is None or repository.full_name in token.repositories
    scoped = token.kind != "classic" or "repo" in token.scopes
    return chosen and scoped and at_least(repository, token.login, "read")


def granted(token: Token, repository: Repository, name: str, level: Literal["read", "write"]) -> bool:
    """Whether the token itself (not its owner) allows that: `name` is a fine-grained permission ("contents")."""
    if token.kind == "classic":
        if "repo" in token.scopes or (level == "read" and repository.visibility == "public"):
            return True
        if name == "statuses" and "repo:status" in token.scopes:
            return True
        return repository.visibility == "public" and "public_repo" in token.scopes
    if level == "read" and repository.visibility == "public" and name != "administration":
        return name != "checks" or token.kind == "actions" or token.permissions.get("checks", "") != ""
    chosen = token.repositories is None or repository.full_name in token.repositories
    has = token.permissions.get(name, "")
    return chosen and (has == level or (level == "read" and has == "write"))


def association(repository: Repository, login: str, *, organization: bool = False) -> str:
    """Return GitHub's `authorAssociation` of an account."""
    if login.casefold() == repository.owner.casefold():
        return "OWNER"
    if login.casefold() in {name.casefold() for name in repository.permissions}:
        return "MEMBER" if organization else "COLLABORATOR"
    merged = any(p.merged and p.login == login for p in repository.pulls.values())
    return "CONTRIBUTOR" if merged else "NONE"


# What a branch asks for


def _fits(pattern: str, branch: str, default: str) -> bool:
    if pattern == "~ALL":
        return True
    if pattern == "~DEFAULT_BRANCH":
        return branch == default
    return fnmatchcase(branch, pattern.removeprefix("refs/heads/"))


def protection(repository: Repository, branch: str) -> Protection | None:
    """Return the branch's classic protection."""
    exact = repository.protections.get(branch)
    fitting = (p for name, p in repository.protections.items() if fnmatchcase(branch, name))
    return exact or next(fitting, None)


def rulesets(repository: Repository, branch: str) -> list[Ruleset]:
    """Return the active rulesets that speak of the branch."""
    default = repository.default_branch
    active = (r for r in repository.rulesets if r.enforcement == "active")
    return [r for r in active if any(_fits(pattern, branch, default) for pattern in r.branches)]


def demands(repository: Repository, branch: str) -> Protection:
    """Return all that is asked of the branch, by its protection and by rulesets, as one."""
    own = protection(repository, branch)
    given = ([own] if own else []) + [r.rules for r in rulesets(repository, branch)]
    return Protection(
        contexts=tuple(dict.fromkeys(c for p in given for c in p.contexts)),
        strict=any(p.strict for p in given),
        approvals=max((p.approvals for p in given), default=0),
        reviews=any(p.needs_reviews for p in given),
        dismiss_stale=any(p.dismiss_stale for p in given),
        code_owners=any(p.code_owners for p in given),
        last_push_approval=any(p.last_push_approval for p in given),
        conversation_resolution=any(p.conversation_resolution for p in given),
        signatures=any(p.signatures for p in given),
        linear_history=any(p.linear_history for p in given),
        locked=any(p.locked for p in given),
    )


def queued(repository: Repository, branch: str) -> bool:
    """Whether changes come through a merge queue."""
    return branch in repository.queues


def methods(repository: Repository, branch: str) -> tuple[str, ...]:
    """Return the merge methods that are allowed."""
    allowed = {"merge": repository.allow_merge, "squash": repository.allow_squash, "rebase": repository.allow_rebase}
    limits = [r.allowed_merge_methods for r in rulesets(repository, branch) if r.allowed_merge_methods]
    return tuple(m for m in METHODS if allowed[m] and all(m in limit for limit in limits))


def refuses_push(repository: Repository, login: str, branch: str) -> str:
    """Return why a branch cannot be pushed to directly, or ""."""
    own = protection(repository, branch)
    bypass = own is not None and not own.enforce_admins and permission(repository, login) == "admin"
    asked = demands(repository, branch)
    if queued(repository, branch):
        return "Changes must be made through the merge queue"
    if asked.needs_reviews and not bypass:
        return "Changes must be made through a pull request."
    if asked.contexts and not bypass:
        return f'Required status check "{asked.contexts[0]}" is expected.'
    return "Cannot change this locked branch" if asked.locked and not bypass else ""


# Checks


def latest_checks(repository: Repository, sha: str) -> list[CheckRun]:
    """Return the newest run of each check on the commit (by suite and name), oldest first."""
    newest = {(c.suite, c.name): c for c in repository.checks if c.sha == sha}
    return list(newest.values())


def latest_statuses(repository: Repository, sha: str) -> list[CommitStatus]:
    """Return the newest status of each context on the commit."""
    newest: dict[str, CommitStatus] = {}
    for status in repository.statuses:
        if status.sha == sha:
            newest[status.context] = status
    return list(newest.values())


def verdicts(repository: Repository, sha: str) -> dict[str, str]:
    """Return each check's verdict by name: passing, failing or pending."""
    found: dict[str, str] = {}
    for check in latest_checks(repository, sha):
        verdict = (
            "pending" if check.status != "completed" else "passing" if check.conclusion in PASSING else "failing"
        )
        found[check.name] = _worse(found.get(check.name), verdict)
    for status in latest_statuses(repository, sha):
        verdict = {"success": "passing", "pending": "pending"}.get(status.state, "failing")
        found[status.context] = _worse(found.get(status.context), verdict)
    return found


def _worse(one: str | None, other: str) -> str:
    order = ("passing", "pending", "failing")
    return other if one is None else max(one, other, key=order.index)


def rollup(repository: Repository, sha: str) -> Rollup | None:
    """Return the state of all of a commit's checks as one; None where it has none."""
    found = set(verdicts(repository, sha).values())
    if any(s.state == "error" for s in latest_statuses(repository, sha)):
        return "ERROR"
    if not found:
        return None
    return "FAILURE" if "failing" in found else "PENDING" if "pending" in found else "SUCCESS"


def is_required(repository: Repository, pull: PullRequest, name: str) -> bool:
    """Whether the base branch requires the check of that name."""
    return name in demands(repository, pull.base_ref).contexts


# A pull request


def base_tip(repository: Repository, pull: PullRequest) -> str:
    """Return the base branch's commit now; `pull.base_sha` where it is gone."""
    return repository.tip(pull.base_ref) or pull.base_sha


def mergeable(repository: Repository, pull: PullRequest, *, asking: bool = True) -> Mergeable:
    """Return whether it merges without a conflict. Unknown to the first who ask after its base or head moved."""
    if pull.merged:
        return "UNKNOWN"
    base = base_tip(repository, pull)
    if pull.computed != f"{base} {pull.head_sha}":
        pull.computed, pull.reads = f"{base} {pull.head_sha}", 0
    if pull.reads < repository.slow_mergeable:
        pull.reads += asking
        return "UNKNOWN"
    return "MERGEABLE" if merges(repository, pull) else "CONFLICTING"


def merges(repository: Repository, pull: PullRequest) -> bool:
    """Whether it merges without a conflict, known or not."""
    return bool(plumbing.merged_tree(repository.git, base_tip(repository, pull), pull.head_sha))


def behind(repository: Repository, pull: PullRequest) -> bool:
    """Whether the base has what the head lacks."""
    return not plumbing.contains(repository.git, pull.head_sha, base_tip(repository, pull))


def opinions(pull: PullRequest) -> list[Review]:
    """Return each reviewer's latest review that approves or objects (or did, and was dismissed)."""
    latest: dict[str, Review] = {}
    for review in pull.reviews:
        if review.state in {"APPROVED", "CHANGES_REQUESTED", "DISMISSED"}:
            latest[review.login] = review
    return list(latest.values())


def counted(repository: Repository, pull: PullRequest, state: str) -> list[Review]:
    """Return the opinions of that state of people who may write."""
    found = (r for r in opinions(pull) if r.state == state)
    return [r for r in found if at_least(repository, r.login, "write") and r.login != pull.login]


def review_decision(repository: Repository, pull: PullRequest) -> Decision | None:
    """Return GitHub's `reviewDecision`; None where no review is required."""
    asked = demands(repository, pull.base_ref)
    if not asked.approvals and not asked.code_owners:
        return None
    if counted(repository, pull, "CHANGES_REQUESTED"):
        return "CHANGES_REQUESTED"
    enough = len(counted(repository, pull, "APPROVED")) >= max(1, asked.approvals)
    return "APPROVED" if enough else "REVIEW_REQUIRED"


@dataclass(frozen=True)
class Lack:
    """Something that a pull request lacks; `behind` where nothing but an update would help."""

    sentence: str
    behind: bool = False


def lacks(repository: Repository, pull: PullRequest, asked: Protection) -> list[Lack]:
    """Return what is asked of the pull request and not there, in GitHub's words."""
    return [
        *_lacking_reviews(repository, pull, asked),
        *_lacking_checks(repository, pull, asked),
        *_lacking_form(repository, pull, asked),
    ]


def _lacking_reviews(repository: Repository, pull: PullRequest, asked: Protection) -> list[Lack]:
    found = []
    if asked.needs_reviews and (objecting := counted(repository, pull, "CHANGES_REQUESTED")):
        plural = "s" if len(objecting) > 1 else ""
        found.append(Lack(f"{len(objecting)} review{plural} requesting changes by reviewers with write access."))
    needed = max(asked.approvals, int(asked.code_owners))
    if len(counted(repository, pull, "APPROVED")) < needed:
        plural = "s are" if needed > 1 else " is"
        found.append(Lack(f"At least {needed} approving review{plural} required by reviewers with write access."))
    if asked.last_push_approval and not any(
        r.commit == pull.head_sha and r.login != pull.last_pusher for r in counted(repository, pull, "APPROVED")
    ):
        found.append(Lack("New changes require approval from someone other than the last pusher."))
    if asked.conversation_resolution and any(not t.resolved for t in pull.threads):
        found.append(Lack("All comments must be resolved."))
    return found


def _lacking_checks(repository: Repository, pull: PullRequest, asked: Protection) -> list[Lack]:
    known = verdicts(repository, pull.head_sha)
    wrong = {c: known.get(c, "expected") for c in asked.contexts if known.get(c) != "passing"}
    words = {"failing": "failing", "pending": "pending", "expected": "expected"}
    if len(wrong) == 1:
        ((name, verdict),) = wrong.items()
        return [Lack(f'Required status check "{name}" is {words[verdict]}.')]
    if wrong:
        verdict = max(wrong.values(), key=("expected", "pending", "failing").index)
        return [Lack(f"{len(wrong)} of {len(asked.contexts)} required status checks are {words[verdict]}.")]
    if asked.strict and asked.contexts and behind(repository, pull):
        count = len(asked.contexts)
        one = f'Required status check "{asked.contexts[0]}" is expected.'
        return [Lack(one if count == 1 else f"{count} of {count} required status checks are expected.", behind=True)]
    return []


def _lacking_form(repository: Repository, pull: PullRequest, asked: Protection) -> list[Lack]:
    found = []
    if asked.signatures and not all(plumbing.read_commit(repository.git, c).signed for c in pull.commits):
        found.append(Lack("Commits must have verified signatures."))
    if asked.linear_history and methods(repository, pull.base_ref) == ("merge",):
        found.append(Lack("This branch must not contain merge commits."))
    if asked.locked:
        found.append(Lack("Cannot change this locked branch."))
    return found


def refusal(repository: Repository, pull: PullRequest, login: str) -> str:
    """Return why the rules do not let the account merge it, in GitHub's words; "" where they do."""
    own = protection(repository, pull.base_ref)
    bypass = own is not None and not own.enforce_admins and permission(repository, login) == "admin"
    if own is not None and not bypass and (found := lacks(repository, pull, own)):
        return found[0].sentence
    asked = [r.rules for r in rulesets(repository, pull.base_ref) if login not in r.bypass]
    sentences = [lack.sentence for rules in asked for lack in lacks(repository, pull, rules)]
    if sentences:
        return "Repository rule violations found\n\n" + "\n\n".join(dict.fromkeys(sentences)) + "\n\n"
    return ""


def merge_state(repository: Repository, pull: PullRequest, *, asking: bool = True) -> MergeState:
    """Return GitHub's `mergeStateStatus`."""
    if pull.merged or pull.state == "closed":
        return "UNKNOWN"
    known = mergeable(repository, pull, asking=asking)
    if known == "UNKNOWN":
        return "UNKNOWN"
    if known == "CONFLICTING":
        return "DIRTY"
    if pull.draft:
        return "DRAFT"
    missing = lacks(repository, pull, demands(repository, pull.base_ref))
    if missing:
        behind = all(lack.behind for lack in missing)
        pull.blocked = 0 if behind else repository.slow_state
        return "BEHIND" if behind else "BLOCKED"
    if pull.blocked:
        pull.blocked -= asking
        return "BLOCKED"
    return "CLEAN" if rollup(repository, pull.head_sha) in {None, "SUCCESS"} else "UNSTABLE"


def updatable(state: State, pull: PullRequest, login: str) -> bool:
    """Whether the account may push to the pull request's branch."""
    head = state.repository(pull.head_repository) if pull.head_repository else None
    if head is None:
        return False
    base = state.repository_of(pull)
    maintained = pull.maintainer_can_modify and at_least(base, login, "write")
    return at_least(head, login, "write") or maintained
