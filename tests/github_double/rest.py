"""GitHub's REST API over the double's state: each route does its move and shows the record.

Who may ask, what it counts and whether question and answer are GitHub's is looked at in one place: `answered`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlencode

from github_double import contract, merging, moves, plumbing, rules
from github_double.ci import Ci, Report, report_check, report_status
from github_double.moves import RefusedError
from github_double.shapes import Json, Shapes
from github_double.state import (
    Issue,
    Protection,
    PullRequest,
    Repository,
    ReviewComment,
    State,
    Thread,
    Token,
    WorkflowRun,
)

_T = TypeVar("_T")
DOCS = "https://docs.github.com/rest"
NOT_FOUND = RefusedError(404, "Not Found")


@dataclass(frozen=True)
class Answer:
    """What is sent back; `body` None = nothing."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """A request that was understood."""

    state: State
    ci: Ci
    method: str
    path: str
    query: dict[str, str]
    body: Any
    token: Token | None
    parameters: Mapping[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)  # signed names -> logs that can be fetched without a token
    logs_url: str = ""

    @property
    def login(self) -> str:
        """Who asks; "" = nobody."""
        return self.token.login if self.token else ""

    @property
    def shapes(self) -> Shapes:
        """What makes JSON of records for whoever asks."""
        return Shapes(self.state, self.login)

    @property
    def repository(self) -> Repository:
        """The repository of the path, where it exists for whoever asks."""
        found = self.state.repository(f"{self.parameters['owner']}/{self.parameters['repo']}")
        if found is None or not rules.sees(self.token, found):
            raise NOT_FOUND
        return found

    @property
    def pull(self) -> PullRequest:
        """The pull request of the path."""
        return _found(self.repository.pulls.get(self.number("pull_number")))

    def number(self, name: str) -> int:
        """A number of the path."""
        text = self.parameters[name]
        if not text.isdigit():
            raise NOT_FOUND
        return int(text)

    def page(self, items: Iterable[Any], show: Callable[[Any], Json], key: str = "") -> Answer:
        """One page of a list, with links to the others; `key` names the list within an object."""
        whole = list(items)
        size = min(max(int(self.query.get("per_page", "30")), 1), 100)
        page = max(int(self.query.get("page", "1")), 1)
        last = max(1, -(-len(whole) // size))
        shown = [show(item) for item in whole[(page - 1) * size : page * size]]
        links = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        wanted = [
            n for n in links if (n in {"prev", "first"} and page > 1) or (n in {"next", "last"} and page < last)
        ]
        told = ", ".join(f'<{self._page_url(links[name])}>; rel="{name}"' for name in wanted)
        body = {"total_count": len(whole), key: shown} if key else shown
        return Answer(200, body, {"link": told} if told else {})

    def _page_url(self, page: int) -> str:
        return f"{self.state.url}/api/v3{self.path}?{urlencode(self.query | {'page': str(page)})}"


Handler = Callable[[Call], Answer]


@dataclass(frozen=True)
class Route:
    """A handler, the permission it needs ("" = none), and at which level."""

    handler: Handler
    permission: str
    level: Literal["read", "write"]


ROUTES: dict[str, Route] = {}


def route(name: str, permission: str = "", level: Literal["", "read", "write"] = "") -> Callable[[Handler], Handler]:
    """Answer an operation of GitHub's description; within a repository unless it begins elsewhere."""
    method, path = name.split(" ")
    whole = path if path.startswith("//") else f"/repos/{{owner}}/{{repo}}{path.removesuffix('/')}"
    needed: Literal["read", "write"] = level or ("read" if method == "GET" else "write")

    def kept(handler: Handler) -> Handler:
        ROUTES[f"{method} {whole.replace('//', '/')}"] = Route(handler, permission, needed)
        return handler

    return kept


def answered(call: Call, query: str, etag: str = "") -> Answer:
    """Answer one call as GitHub does, count it, and note what is not GitHub's in `state.violations`."""
    found = contract.operation(call.method, call.path)
    if found is None:
        call.state.violations.append(f"{call.method} {call.path}: GitHub has no such route")
        return _refused(call, RefusedError(404, "Not Found"))
    asked, call.parameters = found
    known = ROUTES.get(asked.name)
    if known is None:
        call.state.violations.append(f"{asked.name}: the double does not know how to answer")
        return _error(501, "the double does not know how to answer")
    if moved := _moved(call, query):
        return _counted(call, moved, "core")
    limited = call.path != "/rate_limit"
    quota = call.state.quota(call.login, "core")
    if limited and not quota.remaining:
        answer = _error(403, f"API rate limit exceeded for user ID {call.state.account(call.login or 'ghost').id}.")
        return _counted(call, answer, "core")
    wrong = contract.asked_wrongly(asked, query, call.body)
    try:
        _permitted(call, known)
        answer = known.handler(call)
    except RefusedError as refused:
        answer = _refused(call, refused)
    except Exception:  # noqa: BLE001 - a mistake of the double's own is to be seen in the test, not in a thread
        wrong.append(f"{asked.name}: {traceback.format_exc()}")
        answer = _error(500, "the double made a mistake")
    wrong += contract.answered_wrongly(asked, answer.status, answer.body)
    call.state.violations.extend(wrong)
    if wrong:
        answer = _error(500, "; ".join(wrong)[:2000])
    answer = _tagged(answer, etag) if call.method == "GET" else answer
    if limited and answer.status != 304:
        quota.used += 1
    return _counted(call, answer, "core")


def _moved(call: Call, query: str) -> Answer | None:
    """Return where the repository of the path went, which was renamed."""
    name = "/".join(call.parameters.get(part, "") for part in ("owner", "repo"))
    known = call.state.repository(name)
    if known is None or not rules.sees(call.token, known):
        return None
    if goal := call.state.moved_issues.get((known.full_name, call.parameters.get("issue_number", ""))):
        call.state.violations += [f"{call.path}: written to, and it is elsewhere"] if call.method != "GET" else []
        url = f"{call.state.url}/api/v3/repos/{goal[0]}/issues/{goal[1]}"
        return Answer(301, {"message": "Moved Permanently", "url": url}, {"location": url})
    if name.casefold() not in call.state.moved:
        return None
    rest = call.path.removeprefix(f"/repos/{name}")
    url = f"{call.state.url}/api/v3/repositories/{known.id}{rest}" + (f"?{query}" if query else "")
    status, said = (301, "Moved Permanently") if call.method == "GET" else (307, "Temporary Redirect")
    return Answer(status, {"message": said, "url": url, "documentation_url": DOCS}, {"location": url})


def _tagged(answer: Answer, etag: str) -> Answer:
    """Let an answer be asked for again under condition; 304 where it is still the same."""
    if answer.status != 200:
        return answer
    told = json.dumps(answer.body, sort_keys=True)  # the links to other pages are no part of it
    mark = f'W/"{hashlib.sha256(told.encode()).hexdigest()}"'
    if mark.removeprefix("W/") == etag.removeprefix("W/"):
        return Answer(304, None, {"etag": mark})
    return Answer(200, answer.body, answer.headers | {"etag": mark})


def _counted(call: Call, answer: Answer, resource: str) -> Answer:
    quota = call.state.quota(call.login, resource)
    told = {
        "x-ratelimit-limit": str(quota.limit),
        "x-ratelimit-remaining": str(quota.remaining),
        "x-ratelimit-used": str(quota.used),
        "x-ratelimit-reset": str(int(quota.resets_at)),
        "x-ratelimit-resource": resource,
    }
    if call.token and call.token.kind == "classic":
        told["x-oauth-scopes"] = ", ".join(sorted(call.token.scopes))
    return Answer(answer.status, answer.body, told | answer.headers)


def _permitted(call: Call, known: Route) -> None:
    """Refuse who may not ask this."""
    if not known.permission:
        return
    repository = call.repository
    if repository.archived and known.level == "write":
        raise RefusedError(403, "Repository was archived so is read-only.")
    if call.token is None:
        if call.method == "GET" and known.permission != "administration":
            return
        raise RefusedError(401, "Requires authentication")
    if not rules.granted(call.token, repository, known.permission, known.level):
        if call.token.kind == "classic":
            raise NOT_FOUND
        raise _inaccessible(call)


def _inaccessible(call: Call) -> RefusedError:
    who = "integration" if call.token and call.token.kind == "actions" else "personal access token"
    return RefusedError(403, f"Resource not accessible by {who}", kind="FORBIDDEN")


def _pushing(call: Call) -> Repository:
    """Return the repository, refused to those who may not push to it."""
    repository = call.repository
    if not rules.at_least(repository, call.login, "write"):
        raise RefusedError(403, "Must have push access to repository.") if call.token else NOT_FOUND
    return repository


def _refused(call: Call, refused: RefusedError) -> Answer:
    answer = _error(refused.status, refused.message, refused.errors)
    found = contract.operation(call.method, call.path)
    known = ROUTES.get(found[0].name) if found else None
    if known and known.permission:
        return Answer(
            answer.status,
            answer.body,
            {"x-accepted-github-permissions": f"{known.permission}={known.level}", "x-accepted-oauth-scopes": "repo"},
        )
    return answer


def _error(status: int, message: str, errors: list[Any] | None = None) -> Answer:
    body: Json = {"message": message, "documentation_url": DOCS}
    if errors is not None:
        body["errors"] = errors
    return Answer(status, body)


def _found(record: _T | None) -> _T:
    if record is None:
        raise NOT_FOUND
    return record


# People and limits


@route("GET //user")
def _me(call: Call) -> Answer:
    if call.token is None:
        raise RefusedError(401, "Requires authentication")
    if call.token.kind == "actions":
        raise _inaccessible(call)
    return Answer(200, call.shapes.profile(call.state.account(call.login)))


@route("GET //users/{username}")
def _somebody(call: Call) -> Answer:
    known = call.state.accounts.get(call.parameters["username"].casefold().removesuffix("[bot]"))
    return Answer(200, call.shapes.profile(_found(known)))


@route("GET //rate_limit")
def _limits(call: Call) -> Answer:
    told = {}
    for resource in ("core", "graphql", "search"):
        quota = call.state.quota(call.login, resource)
        numbers = {"limit": quota.limit, "remaining": quota.remaining, "used": quota.used}
        told[resource] = numbers | {"reset": int(quota.resets_at)}
    return Answer(200, {"resources": told, "rate": told["core"]})


@route("GET /", "metadata")
def _repository(call: Call) -> Answer:
    return Answer(200, call.shapes.full_repository(call.repository))


@route("GET /collaborators/{username}/permission", "metadata")
def _permission(call: Call) -> Answer:
    repository = call.repository
    if not rules.at_least(repository, call.login, "write"):
        raise RefusedError(403, "Must have push access to view collaborator permission.")
    login = call.parameters["username"]
    account = call.state.accounts.get(login.casefold().removesuffix("[bot]"))
    if account is None or (account.type != "User" and login.casefold() not in repository.permissions):
        raise RefusedError(404, f"{login} is not a user")
    level = rules.permission(repository, login)
    short = {"maintain": "write", "triage": "read"}.get(level, level)
    user = {**call.shapes.account(account), "role_name": level}
    return Answer(200, {"permission": short, "role_name": level, "user": user})


# Branches and rules


@route("GET /branches", "contents")
def _branches(call: Call) -> Answer:
    repository, shapes = call.repository, call.shapes

    def short(name: str) -> Json:
        whole = shapes.branch(repository, name)
        commit = {key: whole["commit"][key] for key in ("sha", "url")}
        return {"name": name, "commit": commit, "protected": whole["protected"]}

    return call.page(plumbing.branches(repository.git), short)


@route("GET /branches/{branch}", "contents")
def _branch(call: Call) -> Answer:
    name = call.parameters["branch"]
    if not call.repository.tip(name):
        raise RefusedError(404, "Branch not found")
    return Answer(200, call.shapes.branch(call.repository, name))


@route("GET /branches/{branch}/protection", "administration")
def _protection(call: Call) -> Answer:
    repository, name = call.repository, call.parameters["branch"]
    if not rules.at_least(repository, call.login, "admin"):
        raise NOT_FOUND
    own: Protection | None = rules.protection(repository, name)
    if own is None:
        raise RefusedError(404, "Branch not protected" if repository.tip(name) else "Branch not found")
    return Answer(200, call.shapes.protection(repository, name, own))


@route("PUT /branches/{branch}/protection", "administration")
def _protect(call: Call) -> Answer:
    repository, name = _administered(call), call.parameters["branch"]
    if not repository.tip(name):
        raise RefusedError(404, "Branch not found")
    body = call.body
    checks, reviews = body["required_status_checks"] or {}, body["required_pull_request_reviews"]
    asked = reviews or {}
    repository.protections[name] = Protection(
        contexts=tuple(checks.get("contexts", ())),
        strict=checks.get("strict", False),
        approvals=asked.get("required_approving_review_count", 0),
        reviews=reviews is not None,
        dismiss_stale=asked.get("dismiss_stale_reviews", False),
        code_owners=asked.get("require_code_owner_reviews", False),
        last_push_approval=asked.get("require_last_push_approval", False),
        conversation_resolution=body.get("required_conversation_resolution", False),
        linear_history=body.get("required_linear_history", False),
        enforce_admins=bool(body["enforce_admins"]),
        locked=body.get("lock_branch", False),
    )
    shown = call.shapes.protection(repository, name, repository.protections[name])
    return Answer(200, shown)


@route("DELETE /branches/{branch}/protection", "administration")
def _unprotect(call: Call) -> Answer:
    repository, name = _administered(call), call.parameters["branch"]
    if name not in repository.protections:
        raise RefusedError(404, "Branch not protected" if repository.tip(name) else "Branch not found")
    del repository.protections[name]
    return Answer(204)


def _administered(call: Call) -> Repository:
    """Return the repository, which is not there for those who do not administer it."""
    if not rules.at_least(call.repository, call.login, "admin"):
        raise NOT_FOUND
    return call.repository


@route("GET /rules/branches/{branch}", "metadata")
def _rules(call: Call) -> Answer:
    repository, shapes = call.repository, call.shapes
    named = rules.rulesets(repository, call.parameters["branch"])
    return call.page([rule for r in named for rule in shapes.rules_of(repository, r)], lambda rule: rule)


@route("GET /rulesets/{ruleset_id}", "metadata")
def _ruleset(call: Call) -> Answer:
    known = call.parameters["ruleset_id"]
    found = _found(next((r for r in call.repository.rulesets if str(r.id) == known), None))
    told = {"id": found.id, "name": found.name, "target": "branch", "source_type": "Repository"}
    told |= {
        "source": call.repository.full_name,
        "enforcement": found.enforcement,
        "current_user_can_bypass": "always" if call.login in found.bypass else "never",
    }
    return Answer(200, told)


@route("GET /git/ref/{ref}", "contents")
def _ref(call: Call) -> Answer:
    name = call.parameters["ref"]
    sha = plumbing.resolve(call.repository.git, f"refs/{name}")
    if not sha:
        raise NOT_FOUND
    return Answer(200, call.shapes.ref(call.repository, name, sha))


@route("GET /git/matching-refs/{ref}", "contents")
def _matching(call: Call) -> Answer:
    repository, shapes, prefix = call.repository, call.shapes, call.parameters["ref"].removeprefix("heads/")
    names = (f"heads/{n}" for n in plumbing.branches(repository.git) if n.startswith(prefix))
    return call.page(names, lambda n: shapes.ref(repository, n, repository.tip(n.removeprefix("heads/"))))


@route("POST /git/refs", "contents")
def _create_ref(call: Call) -> Answer:
    repository, branch = _pushing(call), call.body["ref"].removeprefix("refs/heads/")
    if repository.tip(branch):
        raise RefusedError(422, "Reference already exists")
    if not plumbing.resolve(repository.git, call.body["sha"]):
        raise RefusedError(422, "Object does not exist")
    moves.move_branch(call.state, repository, branch, call.body["sha"], call.login)
    return Answer(201, call.shapes.ref(repository, f"heads/{branch}", call.body["sha"]))


@route("DELETE /git/refs/{ref}", "contents")
def _delete_ref(call: Call) -> Answer:
    repository, name = _pushing(call), call.parameters["ref"]
    moves.delete_branch(call.state, repository, name.removeprefix("heads/"), call.login)
    return Answer(204)


# Pull requests


@route("GET /pulls", "pull_requests")
def _pulls(call: Call) -> Answer:
    repository, query, shapes = call.repository, call.query, call.shapes
    found = list(repository.pulls.values())
    if (state := query.get("state", "open")) != "all":
        found = [p for p in found if p.state == state]
    if base := query.get("base"):
        found = [p for p in found if p.base_ref == base]
    if ":" in (head := query.get("head", "")):  # GitHub passes over one without an owner
        found = [p for p in found if f"{p.head_owner}:{p.head_ref}".casefold() == head.casefold()]
    by = {"updated": "updated_at"}.get(query.get("sort", ""), "number")
    down = query.get("direction", "asc" if "sort" in query else "desc") == "desc"
    return call.page(sorted(found, key=lambda p: getattr(p, by), reverse=down), lambda p: shapes.pull(repository, p))


@route("POST /pulls", "pull_requests")
def _open(call: Call) -> Answer:
    repository, body = call.repository, call.body
    asked = moves.Proposal(
        title=body.get("title", ""),
        head=body["head"],
        base=body["base"],
        body=body.get("body") or "",
        draft=body.get("draft", False),
        maintainer_can_modify=body.get("maintainer_can_modify", True),
    )
    if not asked.title:
        raise moves.invalid("PullRequest", "missing_field", "title")
    pull = moves.open_pull(call.state, repository, call.login, asked)
    shown = call.shapes.full_pull(repository, pull)
    return Answer(201, shown, {"location": shown["url"]})


@route("GET /pulls/{pull_number}", "pull_requests")
def _pull(call: Call) -> Answer:
    return Answer(200, call.shapes.full_pull(call.repository, call.pull, asking=True))


@route("PATCH /pulls/{pull_number}", "pull_requests")
def _edit_pull(call: Call) -> Answer:
    repository, pull, body = call.repository, call.pull, call.body
    if call.login != pull.login and not rules.at_least(repository, call.login, "triage"):
        raise _inaccessible(call)
    if body.get("base", pull.base_ref) != pull.base_ref:
        moves.retarget(call.state, repository, pull, body["base"])
    if body.get("state", pull.state) != pull.state:
        (moves.close if body["state"] == "closed" else moves.reopen)(call.state, repository, pull, call.login)
    pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body) or ""
    pull.updated_at = call.state.now()
    return Answer(200, call.shapes.full_pull(repository, pull))


@route("GET /pulls/{pull_number}/merge", "pull_requests")
def _merged(call: Call) -> Answer:
    if not call.pull.merged:
        raise NOT_FOUND
    return Answer(204)


@route("PUT /pulls/{pull_number}/merge", "contents")
def _merge(call: Call) -> Answer:
    repository, pull, body = _pushing(call), call.pull, call.body or {}
    words = merging.Wording(body.get("commit_title") or "", body.get("commit_message") or "")
    method = body.get("merge_method", "merge")
    sha = merging.merge(call.state, repository, pull, call.login, method, body.get("sha", ""), words)
    return Answer(200, {"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


@route("PUT /pulls/{pull_number}/update-branch", "pull_requests")
def _update_branch(call: Call) -> Answer:
    expected = (call.body or {}).get("expected_head_sha", "")
    moves.update_branch(call.state, call.repository, call.pull, call.login, expected)
    url = f"{call.state.url}/{call.repository.full_name}/pull/{call.pull.number}"
    return Answer(202, {"message": "Updating pull request branch.", "url": url})


@route("GET /pulls/{pull_number}/files", "pull_requests")
def _files(call: Call) -> Answer:
    repository, pull, shapes = call.repository, call.pull, call.shapes
    base = plumbing.merge_base(repository.git, pull.base_sha, pull.head_sha)
    files = plumbing.changed_files(repository.git, base, pull.head_sha)
    return call.page(files, lambda f: shapes.file(repository, f, pull.head_sha))


@route("GET /pulls/{pull_number}/commits", "pull_requests")
def _commits(call: Call) -> Answer:
    repository, shapes = call.repository, call.shapes
    return call.page(call.pull.commits[:250], lambda sha: shapes.commit(repository, sha))


@route("GET /pulls/{pull_number}/requested_reviewers", "pull_requests")
def _reviewers(call: Call) -> Answer:
    return Answer(200, {"users": [call.shapes.user(r) for r in call.pull.requested_reviewers], "teams": []})


@route("POST /pulls/{pull_number}/requested_reviewers", "pull_requests")
def _request_reviewers(call: Call) -> Answer:
    repository, pull = _pushing(call), call.pull
    for login in call.body.get("reviewers", []):
        if login.casefold() not in {name.casefold() for name in repository.permissions}:
            said = "Reviews may only be requested from collaborators. One or more of the users or teams you specified"
            raise RefusedError(422, f"{said} is not a collaborator of the {repository.full_name} repository.")
        if login == pull.login:
            raise RefusedError(422, "Review cannot be requested from pull request author.")
        pull.requested_reviewers += [login] if login not in pull.requested_reviewers else []
    pull.updated_at = call.state.now()
    return Answer(201, call.shapes.pull(repository, pull))


@route("DELETE /pulls/{pull_number}/requested_reviewers", "pull_requests")
def _no_reviewers(call: Call) -> Answer:
    repository, pull = _pushing(call), call.pull
    pull.requested_reviewers = [r for r in pull.requested_reviewers if r not in call.body["reviewers"]]
    return Answer(200, call.shapes.pull(repository, pull))


# Reviews


@route("GET /pulls/{pull_number}/reviews", "pull_requests")
def _reviews(call: Call) -> Answer:
    repository, pull, shapes = call.repository, call.pull, call.shapes
    seen = (r for r in pull.reviews if r.state != "PENDING" or r.login == call.login)
    return call.page(seen, lambda r: shapes.review(repository, pull, r))


@route("POST /pulls/{pull_number}/reviews", "pull_requests")
def _review(call: Call) -> Answer:
    repository, pull, body = call.repository, call.pull, call.body or {}
    events = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}
    verdict = cast("Any", events.get(body.get("event", ""), "PENDING"))
    text, remarks = body.get("body") or "", body.get("comments", [])
    if not text and (verdict == "CHANGES_REQUESTED" or (verdict == "COMMENTED" and not remarks)):
        raise moves.listing("Unprocessable Entity", "Body can't be blank")
    places = [_place(pull, remark) for remark in remarks]
    for place in places:  # all or nothing
        moves.hunk_of(repository, pull, place)
    made = moves.review(call.state, repository, pull, call.login, verdict, text, body.get("commit_id", ""))
    for place, remark in zip(places, remarks, strict=True):
        moves.remark(call.state, repository, pull, call.login, remark["body"], place, made)
    return Answer(200, call.shapes.review(repository, pull, made))


def _place(pull: PullRequest, body: Json) -> moves.Place:
    return moves.Place(
        path=body["path"],
        line=body.get("line"),
        side=body.get("side", "RIGHT"),
        commit=body.get("commit_id") or pull.head_sha,
        start=body.get("start_line"),
    )


@route("GET /pulls/{pull_number}/reviews/{review_id}", "pull_requests")
def _one_review(call: Call) -> Answer:
    known = next((r for r in call.pull.reviews if r.id == call.number("review_id")), None)
    return Answer(200, call.shapes.review(call.repository, call.pull, _found(known)))


@route("PUT /pulls/{pull_number}/reviews/{review_id}/dismissals", "pull_requests")
def _dismiss(call: Call) -> Answer:
    repository, pull = _pushing(call), call.pull
    known = _found(next((r for r in pull.reviews if r.id == call.number("review_id")), None))
    if known.state not in {"APPROVED", "CHANGES_REQUESTED"}:
        raise moves.listing("Unprocessable Entity", "Can not dismiss a commented pull request review")
    known.state, pull.updated_at = "DISMISSED", call.state.now()
    return Answer(200, call.shapes.review(repository, pull, known))


@route("GET /pulls/{pull_number}/comments", "pull_requests")
def _remarks(call: Call) -> Answer:
    repository, pull, shapes = call.repository, call.pull, call.shapes
    pairs = sorted(((t, c) for t in pull.threads for c in t.comments), key=lambda pair: pair[1].id)
    return call.page(pairs, lambda pair: shapes.review_comment(repository, pull, *pair))


@route("POST /pulls/{pull_number}/comments", "pull_requests")
def _remark(call: Call) -> Answer:
    repository, pull, body = call.repository, call.pull, call.body
    _alone(call, pull)
    if body.get("in_reply_to"):
        thread, _ = _remark_of(call, body["in_reply_to"])
        return _replied(call, thread, body["body"])
    line = None if body.get("subject_type") == "file" else body.get("line")
    if line is None and body.get("subject_type") != "file":
        raise moves.invalid("PullRequestReviewComment", "missing_field", "pull_request_review_thread.line")
    if not plumbing.resolve(repository.git, body["commit_id"]):
        raise moves.invalid(
            "PullRequestReviewComment", "custom", "commit_id", "commit_id is not part of the pull request"
        )
    thread = moves.remark(
        call.state, repository, pull, call.login, body["body"], _place(pull, {**body, "line": line})
    )
    return _shown(call, thread, thread.comments[0])


@route("POST /pulls/{pull_number}/comments/{comment_id}/replies", "pull_requests")
def _reply(call: Call) -> Answer:
    thread, comment = _remark_of(call, call.number("comment_id"))
    if comment.in_reply_to:
        raise NOT_FOUND  # replies to replies are not supported
    return _replied(call, thread, call.body["body"])


def _alone(call: Call, pull: PullRequest) -> None:
    """Refuse a remark, which is a review, to who has begun another."""
    if any(r.state == "PENDING" and r.login == call.login for r in pull.reviews):
        said = "user_id can only have one pending review per pull request"
        raise moves.invalid("PullRequestReview", "custom", "user_id", said)


def _replied(call: Call, thread: Thread, body: str) -> Answer:
    _alone(call, call.repository.pulls[thread.number])
    return _shown(call, thread, moves.reply(call.state, call.repository, thread, call.login, body))


def _shown(call: Call, thread: Thread, comment: ReviewComment) -> Answer:
    shown = call.shapes.review_comment(call.repository, call.repository.pulls[thread.number], thread, comment)
    return Answer(201, shown, {"location": shown["url"]})


def _remark_of(call: Call, known: int) -> tuple[Thread, ReviewComment]:
    pairs = ((t, c) for p in call.repository.pulls.values() for t in p.threads for c in t.comments)
    return _found(next((pair for pair in pairs if pair[1].id == known), None))


@route("GET /pulls/comments/{comment_id}", "pull_requests")
def _one_remark(call: Call) -> Answer:
    thread, comment = _remark_of(call, call.number("comment_id"))
    pull = call.repository.pulls[thread.number]
    return Answer(200, call.shapes.review_comment(call.repository, pull, thread, comment))


@route("PATCH /pulls/comments/{comment_id}", "pull_requests")
def _edit_remark(call: Call) -> Answer:
    thread, comment = _remark_of(call, call.number("comment_id"))
    pull = call.repository.pulls[thread.number]
    _own(call, comment.login)
    comment.body, comment.updated_at = call.body["body"], call.state.now()
    return Answer(200, call.shapes.review_comment(call.repository, pull, thread, comment))


def _own(call: Call, login: str) -> None:
    if login != call.login and not rules.at_least(call.repository, call.login, "write"):
        raise _inaccessible(call)


# Issues and conversation


def _subject(call: Call) -> Issue | PullRequest:
    number, repository = call.number("issue_number"), call.repository
    if number in repository.pulls:
        return repository.pulls[number]
    return _found(repository.issues.get(number))


@route("GET /issues", "issues")
def _issues(call: Call) -> Answer:
    repository, shapes, state = call.repository, call.shapes, call.query.get("state", "open")
    both: list[Issue | PullRequest] = [*repository.issues.values(), *repository.pulls.values()]
    wanted = {name.casefold() for name in call.query.get("labels", "").split(",") if name}
    found = [s for s in both if state in {"all", s.state} and wanted <= {name.casefold() for name in s.labels}]
    found.sort(key=lambda s: s.number, reverse=call.query.get("direction", "desc") == "desc")
    return call.page(found, lambda s: shapes.issue(repository, s))


@route("GET /issues/{issue_number}", "issues")
def _issue(call: Call) -> Answer:
    return Answer(200, call.shapes.issue(call.repository, _subject(call)))


@route("PATCH /issues/{issue_number}", "issues")
def _edit_issue(call: Call) -> Answer:
    repository, subject, body = call.repository, _subject(call), call.body or {}
    _own(call, subject.login)
    subject.title, subject.body = body.get("title") or subject.title, body.get("body", subject.body) or ""
    subject.updated_at = call.state.now()
    if body.get("state", subject.state) != subject.state:
        _turn(call, repository, subject, closed=body["state"] == "closed")
    return Answer(200, call.shapes.issue(repository, subject))


def _turn(call: Call, repository: Repository, subject: Issue | PullRequest, *, closed: bool) -> None:
    if isinstance(subject, PullRequest):
        (moves.close if closed else moves.reopen)(call.state, repository, subject, call.login)
    elif closed:
        moves.close_issue(call.state, subject, call.login)
    else:
        subject.state, subject.state_reason, subject.closed_at = "open", "reopened", ""


@route("GET /issues/{issue_number}/comments", "issues")
def _comments(call: Call) -> Answer:
    repository, shapes = call.repository, call.shapes
    return call.page(repository.comments_on(_subject(call).number), lambda c: shapes.comment(repository, c))


@route("POST /issues/{issue_number}/comments", "issues")
def _comment(call: Call) -> Answer:
    repository, subject = call.repository, _subject(call)
    made = moves.comment(call.state, repository, subject.number, call.login, call.body["body"])
    shown = call.shapes.comment(repository, made)
    return Answer(201, shown, {"location": shown["url"]})


@route("GET /issues/comments/{comment_id}", "issues")
def _one_comment(call: Call) -> Answer:
    known = next((c for c in call.repository.comments if c.id == call.number("comment_id")), None)
    return Answer(200, call.shapes.comment(call.repository, _found(known)))


@route("PATCH /issues/comments/{comment_id}", "issues")
def _edit_comment(call: Call) -> Answer:
    known = _found(next((c for c in call.repository.comments if c.id == call.number("comment_id")), None))
    _own(call, known.login)
    if known.body != call.body["body"]:
        known.body, known.updated_at = call.body["body"], call.state.now()
    return Answer(200, call.shapes.comment(call.repository, known))


@route("DELETE /issues/comments/{comment_id}", "issues")
def _delete_comment(call: Call) -> Answer:
    known = _found(next((c for c in call.repository.comments if c.id == call.number("comment_id")), None))
    _own(call, known.login)
    call.repository.comments.remove(known)
    return Answer(204)


# Labels


@route("GET /labels/{name}", "issues")
def _label(call: Call) -> Answer:
    name = _found(_known_as(call.repository, call.parameters["name"]))
    return Answer(200, call.shapes.label(call.repository, name))


def _known_as(repository: Repository, name: str) -> str | None:
    """Return how a label is spelt: GitHub takes capitals for small letters there."""
    return next((known for known in repository.labels if known.casefold() == name.casefold()), None)


@route("POST /labels", "issues")
def _create_label(call: Call) -> Answer:
    repository, name = _pushing(call), call.body["name"]
    if name.casefold() in {known.casefold() for known in repository.labels}:
        raise moves.invalid("Label", "already_exists", "name")
    repository.labels[name] = call.body.get("description", "")
    shown = call.shapes.label(repository, name)
    return Answer(201, shown, {"location": shown["url"]})


def _triaged(call: Call) -> Issue | PullRequest:
    if not rules.at_least(call.repository, call.login, "triage"):
        raise _inaccessible(call)
    return _subject(call)


def _labels_of(call: Call, subject: Issue | PullRequest) -> Answer:
    return Answer(200, [call.shapes.label(call.repository, name) for name in subject.labels])


@route("GET /issues/{issue_number}/labels", "issues")
def _labels(call: Call) -> Answer:
    return _labels_of(call, _subject(call))


@route("POST /issues/{issue_number}/labels", "issues")
def _add_labels(call: Call) -> Answer:
    subject = _triaged(call)
    for asked in call.body["labels"]:
        name = _known_as(call.repository, asked) or asked
        if name not in call.repository.labels:  # GitHub makes it for those who may push
            _pushing(call).labels[name] = ""
        if name not in subject.labels:
            subject.labels.append(name)
            subject.updated_at = call.state.now()
    return _labels_of(call, subject)


@route("DELETE /issues/{issue_number}/labels/{name}", "issues")
def _remove_label(call: Call) -> Answer:
    subject = _triaged(call)
    name = _known_as(call.repository, call.parameters["name"])
    if name is None or name not in subject.labels:
        raise RefusedError(404, "Label does not exist")
    subject.labels.remove(name)
    subject.updated_at = call.state.now()
    return _labels_of(call, subject)


# Commits and their checks


def _sha(call: Call, name: str = "ref") -> str:
    repository, ref = call.repository, call.parameters[name].removeprefix("heads/")
    found = repository.tip(ref) or plumbing.resolve(repository.git, ref)
    if not found:
        raise RefusedError(422, f"No commit found for SHA: {ref}")
    return found


@route("GET /commits/{ref}", "contents")
def _commit(call: Call) -> Answer:
    repository, sha = call.repository, _sha(call)
    parents = plumbing.read_commit(repository.git, sha).parents
    files = plumbing.changed_files(repository.git, parents[0], sha) if parents else ()
    plus, minus = sum(f.additions for f in files), sum(f.deletions for f in files)
    shown = call.shapes.commit(repository, sha)
    shown["stats"] = {"total": plus + minus, "additions": plus, "deletions": minus}
    shown["files"] = [call.shapes.file(repository, f, sha) for f in files]
    return Answer(200, shown)


@route("GET /compare/{base}...{head}", "contents")
def _compare(call: Call) -> Answer:
    repository, shapes = call.repository, call.shapes
    base, head = (_end(call, call.parameters[name]) for name in ("base", "head"))
    common = plumbing.merge_base(repository.git, base, head)
    ahead, behind = (plumbing.between(repository.git, *pair) for pair in ((base, head), (head, base)))
    status = "diverged" if ahead and behind else "ahead" if ahead else "behind" if behind else "identical"
    html = f"{call.state.url}/{repository.full_name}/compare/{base}...{head}"
    files = plumbing.changed_files(repository.git, common, head) if common else ()
    told = {
        "url": f"{call.state.url}/api/v3{call.path}",
        "html_url": html,
        "permalink_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "base_commit": shapes.commit(repository, base),
        "merge_base_commit": shapes.commit(repository, common or base),
        "status": status,
        "ahead_by": len(ahead),
        "behind_by": len(behind),
        "total_commits": len(ahead),
        "files": [shapes.file(repository, f, head) for f in files[:300]],
    }
    page = call.page(ahead, lambda sha: shapes.commit(repository, sha))
    return Answer(200, told | {"commits": page.body}, page.headers)


def _end(call: Call, name: str) -> str:
    """Return the commit of one end of a comparison: a branch, a commit, or "owner:branch" of the network."""
    repository, (owner, _, branch) = call.repository, name.rpartition(":")
    source = moves.head_repository(call.state, repository, owner) if owner else repository
    tip = (source.tip(branch) or plumbing.resolve(source.git, branch)) if source else ""
    if not tip or source is None:
        raise NOT_FOUND
    if source is not repository:
        plumbing.git(repository.git, "fetch", "-q", "--no-tags", str(source.git), tip)
    return tip


@route("GET /commits/{ref}/check-runs", "checks")
def _check_runs(call: Call) -> Answer:
    repository, shapes, sha = call.repository, call.shapes, _sha(call)
    whole = call.query.get("filter") == "all"
    found = [c for c in repository.checks if c.sha == sha] if whole else rules.latest_checks(repository, sha)
    for name, of in (("check_name", "name"), ("status", "status")):
        if wanted := call.query.get(name):
            found = [c for c in found if getattr(c, of) == wanted]
    return call.page(found, lambda c: shapes.check(repository, c), "check_runs")


@route("GET /commits/{ref}/status", "statuses")
def _status(call: Call) -> Answer:
    repository, shapes, sha = call.repository, call.shapes, _sha(call)
    found = rules.latest_statuses(repository, sha)
    states = {s.state for s in found}
    state = (
        "failure" if states & {"error", "failure"} else "pending" if "pending" in states or not states else "success"
    )
    page = call.page(found, lambda s: shapes.status(repository, s, short=True))
    url = f"{call.state.url}/api/v3/repos/{repository.full_name}/commits/{sha}"
    told = {
        "state": state,
        "sha": sha,
        "total_count": len(found),
        "statuses": page.body,
        "repository": shapes.minimal(repository),
        "commit_url": url,
        "url": f"{url}/status",
    }
    return Answer(200, told, page.headers)


@route("GET /commits/{ref}/statuses", "statuses")
def _statuses(call: Call) -> Answer:
    repository, shapes, sha = call.repository, call.shapes, _sha(call)
    found = [s for s in reversed(repository.statuses) if s.sha == sha]
    return call.page(found, lambda s: shapes.status(repository, s))


@route("POST /statuses/{sha}", "statuses")
def _set_status(call: Call) -> Answer:
    repository, body = _pushing(call), call.body
    sha = _sha(call, "sha")
    told = Report(
        body.get("context", "default"),
        body["state"],
        body.get("description") or "",
        body.get("target_url") or "",
        call.login,
    )
    made = report_status(call.state, repository, sha, told)
    shown = call.shapes.status(repository, made)
    return Answer(201, shown, {"location": shown["url"]})


@route("POST /check-runs", "checks")
def _set_check(call: Call) -> Answer:
    repository, body = _pushing(call), call.body
    if call.token is None or call.token.kind != "actions":
        raise RefusedError(403, "You must authenticate via a GitHub App.")
    output = body.get("output") or {}
    told = Report(body["name"], body.get("conclusion", ""), output.get("title", ""), body.get("details_url", ""))
    made = report_check(call.state, repository, body["head_sha"], told)
    return Answer(201, call.shapes.check(repository, made))


@route("GET /check-runs/{check_run_id}", "checks")
def _check(call: Call) -> Answer:
    known = next((c for c in call.repository.checks if c.id == call.number("check_run_id")), None)
    return Answer(200, call.shapes.check(call.repository, _found(known)))


@route("GET /check-runs/{check_run_id}/annotations", "checks")
def _annotations(call: Call) -> Answer:
    known = _found(next((c for c in call.repository.checks if c.id == call.number("check_run_id")), None))
    return call.page(known.annotations, lambda a: call.shapes.annotation(call.repository, known, a))


# Actions


def _run(call: Call) -> WorkflowRun:
    return _found(next((r for r in call.repository.runs if r.id == call.number("run_id")), None))


@route("GET /actions/runs", "actions")
def _runs(call: Call) -> Answer:
    repository, shapes, query = call.repository, call.shapes, call.query
    found = list(reversed(repository.runs))
    for name, of in (("head_sha", "sha"), ("branch", "branch"), ("event", "event")):
        if name in query:
            found = [r for r in found if getattr(r, of) == query[name]]
    if "status" in query:
        found = [r for r in found if query["status"] in {r.status, r.conclusion}]
    return call.page(found, lambda r: shapes.run(repository, r), "workflow_runs")


@route("GET /actions/runs/{run_id}", "actions")
def _one_run(call: Call) -> Answer:
    return Answer(200, call.shapes.run(call.repository, _run(call)))


@route("GET /actions/runs/{run_id}/jobs", "actions")
def _jobs(call: Call) -> Answer:
    repository, shapes, run = call.repository, call.shapes, _run(call)
    found = run.jobs if call.query.get("filter") == "all" else list({j.name: j for j in run.jobs}.values())
    return call.page(found, lambda j: shapes.job(repository, run, j), "jobs")


@route("GET /actions/runs/{run_id}/attempts/{attempt_number}/jobs", "actions")
def _attempt_jobs(call: Call) -> Answer:
    repository, shapes, run = call.repository, call.shapes, _run(call)
    found = [j for j in run.jobs if j.attempt == call.number("attempt_number")]
    return call.page(found, lambda j: shapes.job(repository, run, j), "jobs")


@route("GET /actions/jobs/{job_id}", "actions")
def _job(call: Call) -> Answer:
    pairs = ((r, j) for r in call.repository.runs for j in r.jobs)
    run, job = _found(next((pair for pair in pairs if pair[1].id == call.number("job_id")), None))
    return Answer(200, call.shapes.job(call.repository, run, job))


@route("GET /actions/jobs/{job_id}/logs", "actions")
def _log(call: Call) -> Answer:
    jobs = (j for r in call.repository.runs for j in r.jobs)
    job = _found(next((j for j in jobs if j.id == call.number("job_id")), None))
    if job.status != "completed" or not job.log:
        raise NOT_FOUND
    name = secrets.token_urlsafe(16)
    call.logs[name] = job.log
    return Answer(302, None, {"location": f"{call.logs_url}/actions-results/{name}/job.txt?se=2030&sig={name}"})


@route("POST /actions/runs/{run_id}/rerun", "actions")
def _rerun(call: Call) -> Answer:
    repository = _pushing(call)
    call.ci.rerun(repository, _run(call), failed_only=False)
    return Answer(201, {})


@route("POST /actions/runs/{run_id}/rerun-failed-jobs", "actions")
def _rerun_failed(call: Call) -> Answer:
    repository = _pushing(call)
    call.ci.rerun(repository, _run(call), failed_only=True)
    return Answer(201, {})
