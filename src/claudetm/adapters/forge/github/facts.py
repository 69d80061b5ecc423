"""What must be known of a repository on GitHub before a run begins there: rights, rules, checks. Nothing is written.

One GraphQL request tells most of it; rulesets are told by REST alone. What a token may not see is unknown, and never
taken for forbidden: `None`, or empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from claudetm.adapters.forge.github.place import Hosted, address
from claudetm.adapters.forge.github.workflows import FOLDER, checks_pulls
from claudetm.errors import ForgeBusy, ForgeError

METHODS: Final = ("merge", "squash", "rebase")
_MAY_PUSH: Final = frozenset({"WRITE", "MAINTAIN", "ADMIN"})


class Asks(Protocol):
    """What is asked of GitHub here: the reading half of `client.GithubClient`."""

    def get(self, path: str, **params: Any) -> Any:
        """Return what a path holds."""
        ...

    def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:
        """Return a list, read to its last page."""
        ...

    def graphql(self, query: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        """Return the data, and what went wrong with parts of it."""
        ...

    def scopes(self) -> frozenset[str] | None:
        """Return the scopes of a classic token; None of another."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """A repository and its target branch. `permission` is "" where it is unknown; `refused` says why it is unseen."""

    login: str = ""
    seen: bool = True  # whether the repository is there for this token
    refused: str = ""  # GitHub's own word, where it is not
    repository: str = ""
    permission: str = ""
    push_to: str = ""  # the repository that is pushed to
    push_seen: bool = True
    push_permission: str = ""
    parent: str = ""  # what the repository that is pushed to is a fork of
    archived: bool = False
    disabled: bool = False
    private: bool = False
    default: str = ""  # its default branch
    tip: str = ""  # of the target; "" where there is no such branch
    methods: tuple[str, ...] = METHODS  # that are allowed on the target, in the order of preference
    linear: bool = False
    signatures: bool = False  # commits of the target must be signed
    signed_branches: bool = False  # commits of our own branches must be
    kept_closed: bool = False  # a ruleset restricts making branches of our names
    required: tuple[str, ...] = ()  # checks that must pass
    approvals: int = 0  # that are required; a code owner's is one
    conversations: bool = False  # must be resolved
    queue: bool = False
    workflows: tuple[str, ...] = ()  # files that check a pull request
    has_workflows: bool = False  # files of any kind
    reported: bool | None = None  # whether anything has reported at the target's tip
    scopes: frozenset[str] | None = None  # of a classic token

    @property
    def may_push(self) -> bool:
        """Whether branches can be pushed, as far as is known."""
        return not self.push_permission or self.push_permission in _MAY_PUSH

    @property
    def may_merge(self) -> bool:
        """Whether pull requests can be merged, as far as is known."""
        return not self.permission or self.permission in _MAY_PUSH

    @property
    def unchecked(self) -> bool:
        """Whether no check is ever to be expected; False where that is not known."""
        return not self.workflows and not self.required and self.reported is False

    @property
    def lacking(self) -> tuple[str, ...]:
        """The scopes that a classic token needs here and has not."""
        if self.scopes is None:
            return ()
        enough = {"repo"} if self.private else {"repo", "public_repo"}
        needed = [] if enough & self.scopes else ["repo"]
        return (*needed, *(["workflow"] if self.has_workflows and "workflow" not in self.scopes else []))


def facts(client: Asks, hosted: Hosted, target: str, branch: str) -> Facts:
    """Return what is known of a repository, its `target` branch and branches such as `branch`.

    Raises ForgeError for a token that is refused, ForgeBusy where GitHub does not answer.
    """
    scopes = client.scopes()  # first, as REST alone is sure to tell them
    data, errors = client.graphql(
        QUERY,
        owner=hosted.owner,
        name=hosted.name,
        headOwner=pushed_to(hosted).partition("/")[0],
        headName=pushed_to(hosted).partition("/")[2],
        ref=f"refs/heads/{target}",
        target=target,
        workflows=f"refs/heads/{target}:{FOLDER}",
    )
    data = data or {}
    login = str((data.get("viewer") or {}).get("login", ""))
    found, pushed = data.get("repository"), data.get("head")
    if not found:
        return Facts(login=login, seen=False, refused=_refusal(errors, "repository"), scopes=scopes)
    ref = found.get("ref") or {}
    rule, commit = ref.get("refUpdateRule") or {}, ref.get("target") or {}
    rules = list(_rules(client, hosted.repository, target))
    ours = {r["type"] for r in _rules(client, pushed_to(hosted), branch)}
    files = dict(_workflow_files(found))
    linear = bool(rule.get("requiresLinearHistory")) or any(r["type"] == "required_linear_history" for r in rules)
    return Facts(
        login=login,
        repository=found["nameWithOwner"],
        permission=found.get("viewerPermission") or "",
        push_to=(pushed or {}).get("nameWithOwner", ""),
        push_seen=bool(pushed),
        push_permission=(pushed or {}).get("viewerPermission") or "",
        parent=((pushed or {}).get("parent") or {}).get("nameWithOwner", ""),
        archived=bool(found.get("isArchived") or (pushed or {}).get("isArchived")),
        disabled=bool(found.get("isDisabled")),
        private=bool(found.get("isPrivate")),
        default=(found.get("defaultBranchRef") or {}).get("name", ""),
        tip=commit.get("oid", ""),
        methods=_methods(found, rules, linear=linear),
        linear=linear,
        signatures=bool(rule.get("requiresSignatures")) or any(r["type"] == "required_signatures" for r in rules),
        signed_branches="required_signatures" in ours,
        kept_closed=bool({"creation", "update"} & ours),
        required=_required(rule, rules),
        approvals=_approvals(rule, rules),
        conversations=bool(rule.get("requiresConversationResolution")) or any(_parameters(rules, _RESOLVED)),
        queue=bool(found.get("mergeQueue")) or any(r["type"] == "merge_queue" for r in rules),
        workflows=tuple(name for name, text in files.items() if checks_pulls(text, branch, target)),
        has_workflows=bool(files),
        reported=_reported(commit, errors),
        scopes=scopes,
    )


QUERY: Final = """
query Start($owner: String!, $name: String!, $headOwner: String!, $headName: String!, $ref: String!, $target: String!,
      $workflows: String!) {
  viewer { login }
  repository(owner: $owner, name: $name) {
    nameWithOwner isArchived isDisabled isPrivate viewerPermission
    mergeCommitAllowed squashMergeAllowed rebaseMergeAllowed
    defaultBranchRef { name }
    mergeQueue(branch: $target) { id }
    ref(qualifiedName: $ref) {
      target { oid ... on Commit { statusCheckRollup { state } } }
      refUpdateRule {
        requiredApprovingReviewCount requiredStatusCheckContexts requiresConversationResolution
        requiresLinearHistory requiresSignatures requiresCodeOwnerReviews
      }
    }
    object(expression: $workflows) { ... on Tree { entries { name object { ... on Blob { text } } } } }
  }
  head: repository(owner: $headOwner, name: $headName) {
    nameWithOwner isArchived viewerPermission parent { nameWithOwner }
  }
  rateLimit { cost remaining resetAt }
}
"""
_APPROVALS: Final = "required_approving_review_count"
_OWNERS: Final = "require_code_owner_review"
_RESOLVED: Final = "required_review_thread_resolution"


def pushed_to(hosted: Hosted) -> str:
    """Return the full name of the repository that is pushed to: a fork can be called otherwise."""
    place = address(hosted.push)
    return place.repository if place else f"{hosted.head_owner or hosted.owner}/{hosted.name}"


def _refusal(errors: Sequence[Any], name: str) -> str:
    """Return GitHub's own word on a part that it withholds, but for that it is not there."""
    for error in errors:
        if error.get("type") != "NOT_FOUND" and (error.get("path") or [name])[0] == name:
            return str(error.get("message", "")).rstrip(".")
    return ""


def _rules(client: Asks, repository: str, branch: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rules of rulesets for a branch, which need not be there. They may not exist, or not be for us."""
    try:
        yield from client.pages(f"/repos/{repository}/rules/branches/{quote(branch, safe='')}")
    except ForgeBusy:
        raise
    except ForgeError:  # refused: of an older server, of a plan without rulesets, or of a token without the right
        return


def _parameters(rules: Sequence[Mapping[str, Any]], name: str) -> Iterator[Any]:
    for rule in rules:
        if (value := (rule.get("parameters") or {}).get(name)) is not None:
            yield value


def _methods(found: Mapping[str, Any], rules: Sequence[Mapping[str, Any]], *, linear: bool) -> tuple[str, ...]:
    """Return how the target can be merged into, by the repository's settings and the branch's rules."""
    allowed = {
        "merge": found.get("mergeCommitAllowed") is not False and not linear,
        "squash": found.get("squashMergeAllowed") is not False,
        "rebase": found.get("rebaseMergeAllowed") is not False,
    }
    narrowed = list(_parameters(rules, "allowed_merge_methods"))
    return tuple(m for m in METHODS if allowed[m] and all(m in names for names in narrowed))


def _approvals(rule: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> int:
    owners = bool(rule.get("requiresCodeOwnerReviews")) or any(_parameters(rules, _OWNERS))
    count = int(rule.get("requiredApprovingReviewCount") or 0)
    return max([int(owners), count, *map(int, _parameters(rules, _APPROVALS))])


def _required(rule: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    listed = [c["context"] for checks in _parameters(rules, "required_status_checks") for c in checks]
    return tuple(dict.fromkeys([*(rule.get("requiredStatusCheckContexts") or ()), *listed]))


def _workflow_files(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for entry in (found.get("object") or {}).get("entries") or ():
        if entry["name"].endswith((".yml", ".yaml")):
            yield entry["name"], (entry.get("object") or {}).get("text") or ""


def _reported(commit: Mapping[str, Any], errors: Sequence[Any]) -> bool | None:
    """Return whether a commit has checks; None where the token may not know."""
    if any("statusCheckRollup" in (error.get("path") or ()) for error in errors):
        return None
    return bool(commit.get("statusCheckRollup")) if commit else None
