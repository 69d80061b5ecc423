"""GitHub's GraphQL objects over the double's records: a class a type, named as the schema names it.

A field is an attribute or a method of its name in snake case; one that stands for a paged list gives the whole list,
which `graphql.py` cuts. An object lives for one request, so what it derives it derives once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from github_double import plumbing, rules
from github_double import state as records
from github_double.graphql_pages import Connection, refused
from github_double.moves import RefusedError


class Request:
    """One request: who asks, and what was looked up for it."""

    def __init__(self, state: records.State, token: records.Token) -> None:
        self.state = state
        self.token = token
        self.viewer = state.account(token.login)
        self.violations: list[str] = []
        self._branches: dict[str, dict[str, str]] = {}
        self._views: dict[str, Any] = {}

    def forbidden(self) -> RefusedError:
        """Return GitHub's refusal of what the token has no permission for."""
        who = "integration" if self.token.kind == "actions" else "personal access token"
        return refused("FORBIDDEN", f"Resource not accessible by {who}")

    def at_least(self, repository: records.Repository, level: records.Level) -> bool:
        return rules.at_least(repository, self.viewer.login, level)

    def branches(self, repository: records.Repository) -> dict[str, str]:
        """Return the branches and their commits, as they were when this request first asked."""
        if repository.full_name not in self._branches:
            self._branches[repository.full_name] = plumbing.branches(repository.git)
        return self._branches[repository.full_name]

    def moved(self) -> None:
        """Forget what was looked up: this request changed something."""
        self._branches.clear()
        self._views.clear()

    def actor(self, login: str) -> Actor | None:
        """Return who that is; None for one whose account was deleted."""
        if login in {"", records.GHOST}:
            return None
        account = self.state.account(login)
        return ACTORS[account.type](self, account)

    def repository(self, full_name: str) -> Repository | None:
        """Return the repository, where the token may see it."""
        found = self.state.repository(full_name)
        if found is None or not rules.sees(self.token, found):
            return None
        return Repository(self, found)

    def view(self, record: Any) -> Any:
        """Return the object of a record, the same one for the whole request."""
        return self.remembered(record.node_id, lambda: self._made(record))

    def remembered(self, node_id: str, made: Callable[[], Any]) -> Any:
        """Return the object that this request has of a record, made where it has none yet."""
        if node_id not in self._views:
            self._views[node_id] = made()
        return self._views[node_id]

    def _made(self, record: Any) -> Any:
        from github_double import graphql_pulls as pulls

        if isinstance(record, records.Account):
            return ACTORS[record.type](self, record)
        if isinstance(record, records.Repository):
            return Repository(self, record)
        repository = self.state.repository_of(record)
        match record:
            case records.PullRequest():
                return pulls.PullRequest(self, repository, record)
            case records.Issue():
                return pulls.Issue(self, repository, record)
            case records.CheckRun():
                return CheckRun(self, repository, record)
            case records.CommitStatus():
                return StatusContext(self, repository, record)
            case records.Comment():
                subject = repository.pulls.get(record.number) or repository.issues[record.number]
                return pulls.IssueComment(self.view(subject), record)
            case records.Review():
                return pulls.PullRequestReview(self.view(repository.pulls[record.number]), record)
            case records.Thread():
                return pulls.PullRequestReviewThread(self.view(repository.pulls[record.number]), record)
            case records.ReviewComment():
                return pulls.PullRequestReviewComment(self.view(self.state.thread_of(record)), record)
            case records.QueueEntry():
                return self.view(repository.pulls[record.number]).merge_queue_entry
            case _:
                raise refused("NOT_FOUND", f"Could not resolve to a node with the global id of '{record.node_id}'.")


class Actor:
    """Somebody with an account."""

    def __init__(self, request: Request, record: records.Account) -> None:
        self.id = record.node_id
        self.database_id = record.id
        self.login = record.login
        self.name = record.name
        self.url = f"{request.state.url}/{record.login}"
        self.resource_path = f"/{record.login}"
        self.avatar_url = f"{request.state.url}/avatars/u/{record.id}"
        self.is_viewer = record is request.viewer
        # An address that is shown is the person's choice; most show none.
        self.email = ""


class User(Actor):
    """A person."""


class Bot(Actor):
    """An app's account; its login has no "[bot]" here."""


class Organization(Actor):
    """An organisation."""


class Mannequin(Actor):
    """Somebody whose contributions were imported and whose account is not known."""


ACTORS: dict[str, type[Actor]] = {
    "User": User,
    "Bot": Bot,
    "Organization": Organization,
    "Mannequin": Mannequin,
}


class Repository:
    """A repository as the viewer sees it."""

    def __init__(self, request: Request, record: records.Repository) -> None:
        self.request = request
        self.record = record
        self.id = record.node_id
        self.database_id = record.id
        self.name = record.name
        self.name_with_owner = record.full_name
        self.description = record.description or None
        self.url = f"{request.state.url}/{record.full_name}"
        self.resource_path = f"/{record.full_name}"
        self.is_fork = bool(record.parent)
        self.is_private = record.visibility == "private"
        self.is_archived = record.archived
        self.is_locked = self.is_disabled = self.is_mirror = self.is_template = False
        self.visibility = record.visibility.upper()
        self.created_at = record.created_at
        self.squash_merge_allowed = record.allow_squash
        self.merge_commit_allowed = record.allow_merge
        self.rebase_merge_allowed = record.allow_rebase
        self.auto_merge_allowed = record.allow_auto_merge
        self.allow_update_branch = record.allow_update_branch
        self.delete_branch_on_merge = record.delete_branch_on_merge
        self.has_issues_enabled = record.has_issues

    @property
    def owner(self) -> Any:
        return self.request.actor(self.record.owner)

    @property
    def is_in_organization(self) -> bool:
        return isinstance(self.owner, Organization)

    @property
    def is_empty(self) -> bool:
        return not self.request.branches(self.record)

    @property
    def parent(self) -> Repository | None:
        return self.request.repository(self.record.parent) if self.record.parent else None

    @property
    def viewer_permission(self) -> str | None:
        level = rules.permission(self.record, self.request.viewer.login)
        return None if level == "none" else level.upper()

    @property
    def viewer_can_administer(self) -> bool:
        return self.request.at_least(self.record, "admin")

    @property
    def default_branch_ref(self) -> Ref | None:
        return self.branch(self.record.default_branch)

    def branch(self, name: str) -> Ref | None:
        tip = self.request.branches(self.record).get(name)
        return Ref(self, name, tip) if tip else None

    def ref(self, qualified_name: str) -> Ref | None:
        return self.branch(qualified_name.removeprefix("refs/heads/"))

    def refs(self, ref_prefix: str, query: str = "", **_order: Any) -> list[Ref]:
        if ref_prefix != "refs/heads/":
            return []
        return [Ref(self, name, tip) for name, tip in self.request.branches(self.record).items() if query in name]

    def object(self, oid: str | None = None, expression: str | None = None) -> Commit | Tree | None:
        name = oid or expression or "HEAD"
        if ":" in name:
            folder = plumbing.resolve(self.record.git, name, "tree")
            return Tree(self, folder) if folder else None
        sha = plumbing.resolve(self.record.git, name)
        return Commit(self, sha) if sha else None

    def pull_request(self, number: int) -> Any:
        found = self.record.pulls.get(number)
        if found is None:
            raise refused("NOT_FOUND", f"Could not resolve to a PullRequest with the number of {number}.")
        return self.pull(found)

    def pull(self, record: records.PullRequest) -> Any:
        from github_double.graphql_pulls import PullRequest

        return self.request.remembered(record.node_id, lambda: PullRequest(self.request, self.record, record))

    def pull_requests(
        self,
        states: Sequence[str] | None = None,
        head_ref_name: str | None = None,
        base_ref_name: str | None = None,
        labels: Sequence[str] | None = None,
        order_by: dict[str, str] | None = None,
    ) -> list[Any]:
        found = [
            pull
            for pull in self.record.pulls.values()
            if (states is None or pull.status in states)
            and head_ref_name in {None, pull.head_ref}
            and base_ref_name in {None, pull.base_ref}
            and (labels is None or set(labels) & set(pull.labels))
        ]
        return [self.pull(one) for one in ordered(found, order_by)]

    def issue(self, number: int) -> Any:
        from github_double.graphql_pulls import Issue

        found = self.record.issues.get(number)
        if found is None:
            raise refused("NOT_FOUND", f"Could not resolve to an Issue with the number of {number}.")
        return Issue(self.request, self.record, found)

    def issues(self, states: Sequence[str] | None = None, order_by: dict[str, str] | None = None) -> list[Any]:
        found = [one for one in self.record.issues.values() if states is None or one.state.upper() in states]
        return [self.issue(one.number) for one in ordered(found, order_by)]

    def issue_or_pull_request(self, number: int) -> Any:
        if number in self.record.pulls:
            return self.pull_request(number)
        if number in self.record.issues:
            return self.issue(number)
        raise refused("NOT_FOUND", f"Could not resolve to an issue or pull request with the number of {number}.")

    def merge_queue(self, branch: str | None = None) -> Any:
        from github_double.graphql_pulls import MergeQueue

        queue = self.record.queues.get(branch or self.record.default_branch)
        return MergeQueue(self, queue) if queue else None


_ORDERS = {"CREATED_AT": "created_at", "UPDATED_AT": "updated_at"}


def ordered(found: Sequence[Any], order_by: dict[str, str] | None) -> list[Any]:
    """Return pull requests or issues as asked; without an order by the time they were made, oldest first."""
    asked = order_by or {"field": "CREATED_AT", "direction": "ASC"}
    by = _ORDERS[asked["field"]]
    return sorted(found, key=lambda one: (getattr(one, by), one.number), reverse=asked["direction"] == "DESC")


class Ref:
    """A branch."""

    prefix = "refs/heads/"

    def __init__(self, repository: Repository, name: str, tip: str) -> None:
        self.repository = repository
        self.name = name
        self.id = f"REF_{repository.record.id}_{name}"
        self._tip = tip

    @property
    def target(self) -> Commit:
        return Commit(self.repository, self._tip)

    def associated_pull_requests(self, **narrowed: Any) -> list[Any]:
        return self.repository.pull_requests(head_ref_name=self.name, **narrowed)

    @cached_property
    def _rules(self) -> records.Protection | None:
        return rules.protection(self.repository.record, self.name)

    @property
    def ref_update_rule(self) -> RefUpdateRule | None:
        """What branch protection says, in so far as everybody may know; rulesets are told over REST only."""
        return RefUpdateRule(self.repository, self.name, self._rules) if self._rules else None

    @property
    def branch_protection_rule(self) -> BranchProtectionRule | None:
        """What only administrators see, null to everybody else."""
        if self._rules is None or not self.repository.viewer_can_administer:
            return None
        return BranchProtectionRule(self.repository, self.name, self._rules)


class RefUpdateRule:
    """What the branch asks of the viewer's changes."""

    allows_deletions = False
    allows_force_pushes = False
    blocks_creations = False
    viewer_allowed_to_dismiss_reviews = False

    def __init__(self, repository: Repository, branch: str, rule: records.Protection) -> None:
        self.pattern = branch
        self.required_status_check_contexts = list(rule.contexts)
        self.required_approving_review_count = rule.approvals if rule.needs_reviews else None
        self.requires_code_owner_reviews = rule.code_owners
        self.requires_conversation_resolution = rule.conversation_resolution
        self.requires_linear_history = rule.linear_history
        self.requires_signatures = rule.signatures
        self.viewer_can_push = repository.request.at_least(repository.record, "write") and not rule.locked


class BranchProtectionRule:
    """The rule itself."""

    allows_deletions = False
    allows_force_pushes = False

    def __init__(self, repository: Repository, branch: str, rule: records.Protection) -> None:
        self.id = f"BPR_{repository.record.id}_{branch}"
        self.pattern = branch
        self.repository = repository
        self.is_admin_enforced = rule.enforce_admins
        self.dismisses_stale_reviews = rule.dismiss_stale
        self.lock_branch = rule.locked
        self.require_last_push_approval = rule.last_push_approval
        self.required_approving_review_count = rule.approvals if rule.needs_reviews else None
        self.required_status_check_contexts = list(rule.contexts)
        self.requires_approving_reviews = rule.needs_reviews
        self.requires_code_owner_reviews = rule.code_owners
        self.requires_commit_signatures = rule.signatures
        self.requires_conversation_resolution = rule.conversation_resolution
        self.requires_linear_history = rule.linear_history
        self.requires_status_checks = bool(rule.contexts)
        self.requires_strict_status_checks = rule.strict


class Tree:
    """A folder in a commit."""

    def __init__(self, repository: Repository, oid: str) -> None:
        self.repository = repository
        self.oid = oid
        self.id = f"T_{repository.record.id}_{oid}"

    @cached_property
    def entries(self) -> list[TreeEntry]:
        listed = plumbing.git(self.repository.record.git, "ls-tree", self.oid)
        rows = (line.split("\t", 1) for line in listed.splitlines())
        return [TreeEntry(self.repository, name, *about.split()[1:]) for about, name in rows]


class TreeEntry:
    """What stands in a folder under a name."""

    def __init__(self, repository: Repository, name: str, kind: str, oid: str) -> None:
        self.name = name
        self.type = kind
        self.oid = oid
        self.object = {"blob": Blob, "tree": Tree, "commit": Commit}[kind](repository, oid)


class Blob:
    """A file."""

    def __init__(self, repository: Repository, oid: str) -> None:
        self.repository = repository
        self.oid = oid
        self.id = f"B_{repository.record.id}_{oid}"

    @property
    def text(self) -> str:
        return plumbing.git(self.repository.record.git, "cat-file", "blob", self.oid)


class Commit:
    """A commit; git is asked only for what is selected."""

    def __init__(self, repository: Repository, oid: str) -> None:
        self.repository = repository
        self.request = repository.request
        self.oid = oid
        self.id = f"C_{repository.record.id}_{oid}"
        self.abbreviated_oid = oid[:7]
        self.url = self.commit_url = f"{repository.url}/commit/{oid}"
        self.resource_path = self.commit_resource_path = f"{repository.resource_path}/commit/{oid}"

    @cached_property
    def _git(self) -> plumbing.Commit:
        return plumbing.read_commit(self.repository.record.git, self.oid)

    @property
    def message(self) -> str:
        return self._git.message

    @property
    def message_headline(self) -> str:
        return self.message.split("\n", 1)[0]

    @property
    def message_body(self) -> str:
        return self.message.partition("\n")[2].strip("\n")

    @property
    def authored_date(self) -> str:
        return self._git.authored_at

    @property
    def committed_date(self) -> str:
        return self._git.committed_at

    @property
    def author(self) -> GitActor:
        return GitActor(self.request, self._git.author, self._git.authored_at)

    @property
    def committer(self) -> GitActor:
        return GitActor(self.request, self._git.committer, self._git.committed_at)

    def authors(self) -> list[GitActor]:
        return [self.author]

    def parents(self) -> list[Commit]:
        return [Commit(self.repository, parent) for parent in self._git.parents]

    def history(self, path: str | None = None, **_narrowed: Any) -> list[Commit]:
        paths = ["--", path] if path else []
        listed = plumbing.git(self.repository.record.git, "rev-list", self.oid, *paths).split()
        return [Commit(self.repository, one) for one in listed]

    def associated_pull_requests(self, **_order: Any) -> list[Any]:
        pulls = self.repository.record.pulls.values()
        return [self.repository.pull(one) for one in pulls if self.oid in {*one.commits, one.merge_commit}]

    @property
    def status_check_rollup(self) -> StatusCheckRollup | None:
        """Return a new one each time: two fields of the same rollup are selected under one name or under two."""
        repository = self.repository.record
        if not rules.granted(self.request.token, repository, "checks", "read"):
            raise self.request.forbidden()
        made = StatusCheckRollup(self)
        return made if made.items else None


class GitActor:
    """Who git says did it, and whose account that is."""

    def __init__(self, request: Request, who: plumbing.Person, date: str) -> None:
        self.id = who.email
        self.name = who.name
        self.email = who.email
        self.date = date
        self._request = request

    @property
    def user(self) -> Any:
        account = self._request.state.by_email(self.email)
        return User(self._request, account) if account is not None and account.type == "User" else None


class StatusCheckRollup:
    """All that was reported on a commit. One of it may be asked for `state` or for `contexts`, not for both."""

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self.id = f"SCR_{commit.id}"
        self._asked: set[str] = set()

    @cached_property
    def items(self) -> list[CheckRun | StatusContext]:
        request, repository = self.commit.request, self.commit.repository.record
        return [
            *(CheckRun(request, repository, one) for one in rules.latest_checks(repository, self.commit.oid)),
            *(StatusContext(request, repository, one) for one in rules.latest_statuses(repository, self.commit.oid)),
        ]

    @property
    def state(self) -> str | None:
        self._ask("state")
        return rules.rollup(self.commit.repository.record, self.commit.oid)

    def contexts(self) -> list[CheckRun | StatusContext]:
        self._ask("contexts")
        return self.items

    def _ask(self, field: str) -> None:
        self._asked.add(field)
        if len(self._asked) > 1:
            self.commit.request.violations.append(
                "`state` and `contexts` under one statusCheckRollup: `state` is not reliable then, alias it twice"
            )


class StatusCheckRollupContextConnection(Connection):
    """A rollup's list, with the numbers that only it has: of all of them, not of the page."""

    @property
    def check_run_count(self) -> int:
        return sum(isinstance(one, CheckRun) for one in self.items)

    @property
    def status_context_count(self) -> int:
        return sum(isinstance(one, StatusContext) for one in self.items)

    @property
    def check_run_counts_by_state(self) -> list[dict[str, Any]]:
        return _counts([one.conclusion or one.status for one in self.items if isinstance(one, CheckRun)])

    @property
    def status_context_counts_by_state(self) -> list[dict[str, Any]]:
        return _counts([one.state for one in self.items if isinstance(one, StatusContext)])


def _counts(states: Sequence[str]) -> list[dict[str, Any]]:
    return [{"state": state, "count": count} for state, count in sorted(Counter(states).items())]


class CheckRun:
    """A check that an app reports."""

    def __init__(self, request: Request, repository: records.Repository, record: records.CheckRun) -> None:
        self._request = request
        self._repository = repository
        self._record = record
        self.id = record.node_id
        self.database_id = record.id
        self.name = record.name
        self.status = record.status.upper()
        self.conclusion = record.conclusion.upper() or None
        self.started_at = record.started_at or None
        self.completed_at = record.completed_at or None
        self.title = record.title or None
        self.summary = record.summary or None
        self.text = record.text or None
        self.external_id = record.external_id
        self.url = self.permalink = f"{request.state.url}/{repository.full_name}/runs/{record.id}"
        self.details_url = record.details_url or self.url
        self.resource_path = f"/{repository.full_name}/runs/{record.id}"

    @property
    def repository(self) -> Repository:
        return Repository(self._request, self._repository)

    def is_required(self, pull_request_number: int | None = None, pull_request_id: str | None = None) -> bool:
        return _required(self._request, self._repository, self.name, pull_request_number, pull_request_id)

    def annotations(self) -> list[CheckAnnotation]:
        return [CheckAnnotation(self, place, one) for place, one in enumerate(self._record.annotations)]

    @property
    def check_suite(self) -> CheckSuite:
        found = next(one for one in self._repository.suites if one.id == self._record.suite)
        return CheckSuite(self._request, self._repository, found)


class CheckAnnotation:
    """A remark of a check."""

    def __init__(self, check: CheckRun, place: int, record: records.Annotation) -> None:
        self.id = f"{check.id}:{place}"
        self.message = record.message
        self.title = record.title or None
        self.path = record.path
        self.annotation_level = record.level.upper()


def _required(
    request: Request, repository: records.Repository, name: str, number: int | None, node_id: str | None
) -> bool:
    if number is None and node_id is None:
        raise refused("UNPROCESSABLE", "A pull request ID or pull request number is required.")
    if number is None:
        record = request.state.nodes.get(node_id or "")
        number = record.number if isinstance(record, records.PullRequest) else 0
    pull = repository.pulls.get(number)
    if pull is None:
        raise refused("NOT_FOUND", f"Could not resolve to a PullRequest with the number of {number}.")
    return rules.is_required(repository, pull, name)


class StatusContext:
    """A commit status, the newest of its context."""

    def __init__(self, request: Request, repository: records.Repository, record: records.CommitStatus) -> None:
        self._request = request
        self._repository = repository
        self._record = record
        self.id = record.node_id
        self.context = record.context
        self.state = record.state.upper()
        self.description = record.description or None
        self.target_url = record.target_url or None
        self.created_at = record.created_at

    @property
    def creator(self) -> Any:
        return self._request.actor(self._record.login)

    @property
    def commit(self) -> Commit:
        return Commit(Repository(self._request, self._repository), self._record.sha)

    def is_required(self, pull_request_number: int | None = None, pull_request_id: str | None = None) -> bool:
        return _required(self._request, self._repository, self.context, pull_request_number, pull_request_id)


class CheckSuite:
    """What one app reports on a commit."""

    def __init__(self, request: Request, repository: records.Repository, record: records.CheckSuite) -> None:
        self._request = request
        self._repository = repository
        self._record = record
        self.id = record.node_id
        self.database_id = record.id
        self.created_at = record.created_at
        self.app = App(request, record.app)

    @property
    def commit(self) -> Commit:
        return Commit(Repository(self._request, self._repository), self._record.sha)

    def check_runs(self, **_narrowed: Any) -> list[CheckRun]:
        runs = [one for one in self._repository.checks if one.suite == self._record.id]
        return [CheckRun(self._request, self._repository, one) for one in runs]

    @property
    def status(self) -> str:
        run = next((one for one in self._repository.runs if one.suite == self._record.id), None)
        done = all(one.status == "completed" for one in self._repository.checks if one.suite == self._record.id)
        return (run.status if run else "completed" if done else "in_progress").upper()

    @property
    def workflow_run(self) -> WorkflowRun | None:
        found = next((one for one in self._repository.runs if one.suite == self._record.id), None)
        return WorkflowRun(self._request, self._repository, found) if found else None


class App:
    """An app, by its slug."""

    def __init__(self, request: Request, slug: str) -> None:
        self.id = f"A_{slug}"
        self.slug = slug
        self.name = "GitHub Actions" if slug == records.ACTIONS else slug.replace("-", " ").title()
        self.database_id = request.state.account(slug, "Bot").id


class WorkflowRun:
    """A run of an Actions workflow."""

    def __init__(self, request: Request, repository: records.Repository, record: records.WorkflowRun) -> None:
        self.id = record.node_id
        self.database_id = record.id
        self.run_number = record.run_number
        self.event = record.event
        self.created_at = record.created_at
        self.updated_at = record.updated_at
        self.url = f"{request.state.url}/{repository.full_name}/actions/runs/{record.id}"
        self.resource_path = f"/{repository.full_name}/actions/runs/{record.id}"
        self.workflow = Workflow(repository.workflows[record.workflow])


class Workflow:
    """An Actions workflow."""

    def __init__(self, record: records.Workflow) -> None:
        self.id = record.node_id
        self.database_id = record.id
        self.name = record.name
