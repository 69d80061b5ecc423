"""The double's records as REST says them. Held to GitHub's description by `contract.py` at each answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from github_double import plumbing, rules
from github_double.moves import person
from github_double.state import (
    LEVELS,
    Account,
    Annotation,
    CheckRun,
    Comment,
    CommitStatus,
    Issue,
    Job,
    Protection,
    PullRequest,
    Repository,
    Review,
    ReviewComment,
    Ruleset,
    State,
    Thread,
    WorkflowRun,
)

Json = dict[str, Any]
_USER_URLS = {
    "followers": "/followers",
    "following": "/following{/other_user}",
    "gists": "/gists{/gist_id}",
    "starred": "/starred{/owner}{/repo}",
    "subscriptions": "/subscriptions",
    "organizations": "/orgs",
    "repos": "/repos",
    "events": "/events{/privacy}",
    "received_events": "/received_events",
}
_REPOSITORY_URLS = {
    "archive": "/{archive_format}{/ref}",
    "assignees": "/assignees{/user}",
    "blobs": "/git/blobs{/sha}",
    "branches": "/branches{/branch}",
    "collaborators": "/collaborators{/collaborator}",
    "comments": "/comments{/number}",
    "commits": "/commits{/sha}",
    "compare": "/compare/{base}...{head}",
    "contents": "/contents/{+path}",
    "contributors": "/contributors",
    "deployments": "/deployments",
    "downloads": "/downloads",
    "events": "/events",
    "forks": "/forks",
    "git_commits": "/git/commits{/sha}",
    "git_refs": "/git/refs{/sha}",
    "git_tags": "/git/tags{/sha}",
    "hooks": "/hooks",
    "issue_comment": "/issues/comments{/number}",
    "issue_events": "/issues/events{/number}",
    "issues": "/issues{/number}",
    "keys": "/keys{/key_id}",
    "labels": "/labels{/name}",
    "languages": "/languages",
    "merges": "/merges",
    "milestones": "/milestones{/number}",
    "notifications": "/notifications{?since,all,participating}",
    "pulls": "/pulls{/number}",
    "releases": "/releases{/id}",
    "stargazers": "/stargazers",
    "statuses": "/statuses/{sha}",
    "subscribers": "/subscribers",
    "subscription": "/subscription",
    "tags": "/tags",
    "teams": "/teams",
    "trees": "/git/trees{/sha}",
}


class Shapes:
    """Makes JSON of records, for whoever asks (`viewer` is a login, "" for nobody)."""

    def __init__(self, state: State, viewer: str = "") -> None:
        self.state = state
        self.viewer = viewer

    def api(self, path: str) -> str:
        """Return the address of something in the API."""
        return f"{self.state.url}/api/v3{path}"

    def html(self, path: str) -> str:
        """Return the address of something for people."""
        return f"{self.state.url}{path}"

    # Accounts

    def user(self, login: str) -> Json | None:
        """A simple user; None for nobody."""
        return self.account(self.state.account(login)) if login else None

    def account(self, account: Account) -> Json:
        """A simple user."""
        url = self.api(f"/users/{account.rest_login}")
        shown = f"/apps/{account.login}" if account.type == "Bot" else f"/{account.login}"
        return {
            "login": account.rest_login,
            "id": account.id,
            "node_id": account.node_id,
            "avatar_url": self.html(f"/avatars/u/{account.id}?v=4"),
            "gravatar_id": "",
            "url": url,
            "html_url": self.html(shown),
            "type": account.type,
            "site_admin": False,
            "user_view_type": "public",
            **{f"{name}_url": url + rest for name, rest in _USER_URLS.items()},
        }

    def profile(self, account: Account) -> Json:
        """What `/user` and `/users/{username}` tell."""
        empty = ("bio", "blog", "company", "hireable", "location")
        return {
            **self.account(account),
            **dict.fromkeys(empty),
            "name": account.name,
            "email": account.email,
            "blog": "",
            "followers": 0,
            "following": 0,
            "public_gists": 0,
            "public_repos": 0,
            "created_at": "2020-01-01T00:00:00Z",
            "updated_at": "2020-01-01T00:00:00Z",
        }

    # Repositories

    def minimal(self, repository: Repository) -> Json:
        """A minimal repository, as it stands within other records."""
        url = self.api(f"/repos/{repository.full_name}")
        return {
            "id": repository.id,
            "node_id": repository.node_id,
            "name": repository.name,
            "full_name": repository.full_name,
            "owner": self.user(repository.owner),
            "private": repository.visibility == "private",
            "html_url": self.html(f"/{repository.full_name}"),
            "description": repository.description or None,
            "fork": bool(repository.parent),
            "url": url,
            **{f"{name}_url": url + rest for name, rest in _REPOSITORY_URLS.items()},
        }

    def repository(self, repository: Repository) -> Json:
        """A repository, as it stands at both ends of a pull request."""
        host = self.state.url.split("://")[1]
        opened = sum(i.state == "open" for i in repository.issues.values())
        opened += sum(p.state == "open" for p in repository.pulls.values())
        names = ("forks", "forks_count", "size", "stargazers_count", "watchers", "watchers_count")
        return {
            **self.minimal(repository),
            **dict.fromkeys(names, 0),
            "clone_url": self.html(f"/{repository.full_name}.git"),
            "git_url": f"git://{host}/{repository.full_name}.git",
            "ssh_url": f"git@{host}:{repository.full_name}.git",
            "svn_url": self.html(f"/{repository.full_name}"),
            "mirror_url": None,
            "homepage": None,
            "language": None,
            "license": None,
            "default_branch": repository.default_branch,
            "visibility": repository.visibility,
            "has_issues": repository.has_issues,
            "has_projects": False,
            "has_wiki": False,
            "has_pages": False,
            "has_downloads": False,
            "has_discussions": False,
            "archived": repository.archived,
            "disabled": False,
            "open_issues": opened,
            "open_issues_count": opened,
            "created_at": repository.created_at,
            "updated_at": repository.created_at,
            "pushed_at": repository.created_at,
        }

    def full_repository(self, repository: Repository) -> Json:
        """What asking for a repository tells; its settings only to those who may push."""
        level = rules.permission(repository, self.viewer) if self.viewer else "read"
        found = {**self.repository(repository), "network_count": 0, "subscribers_count": 0}
        if self.viewer:
            names = {"pull": "read", "triage": "triage", "push": "write", "maintain": "maintain", "admin": "admin"}
            rank = LEVELS.index(level)
            found["permissions"] = {name: rank >= LEVELS.index(at) for name, at in names.items()}
        if level in {"write", "maintain", "admin"}:
            found |= {
                "allow_merge_commit": repository.allow_merge,
                "allow_squash_merge": repository.allow_squash,
                "allow_rebase_merge": repository.allow_rebase,
                "allow_auto_merge": repository.allow_auto_merge,
                "allow_update_branch": repository.allow_update_branch,
                "delete_branch_on_merge": repository.delete_branch_on_merge,
            }
        if repository.parent and (parent := self.state.repository(repository.parent)):
            found |= {"parent": self.repository(parent), "source": self.repository(parent)}
        return found

    # Git

    def commit(self, repository: Repository, sha: str) -> Json:
        """A commit."""
        told = plumbing.read_commit(repository.git, sha)
        url = self.api(f"/repos/{repository.full_name}")
        author, committer = (self.state.by_email(p.email) for p in (told.author, told.committer))
        return {
            "sha": sha,
            "node_id": f"C_{sha}",
            "commit": {
                "author": {"name": told.author.name, "email": told.author.email, "date": told.authored_at},
                "committer": {"name": told.committer.name, "email": told.committer.email, "date": told.committed_at},
                "message": told.message,
                "tree": {"sha": told.tree, "url": f"{url}/git/trees/{told.tree}"},
                "url": f"{url}/git/commits/{sha}",
                "comment_count": 0,
                "verification": {
                    "verified": told.signed,
                    "reason": "valid" if told.signed else "unsigned",
                    "signature": None,
                    "payload": None,
                    "verified_at": None,
                },
            },
            "url": f"{url}/commits/{sha}",
            "html_url": self.html(f"/{repository.full_name}/commit/{sha}"),
            "comments_url": f"{url}/commits/{sha}/comments",
            "author": self.account(author) if author else None,
            "committer": self.account(committer) if committer else None,
            "parents": [
                {"sha": p, "url": f"{url}/commits/{p}", "html_url": self.html(f"/{repository.full_name}/commit/{p}")}
                for p in told.parents
            ],
        }

    def file(self, repository: Repository, file: plumbing.ChangedFile, head: str) -> Json:
        """A file of a diff."""
        url = self.api(f"/repos/{repository.full_name}")
        shown = {
            "sha": file.blob,
            "filename": file.path,
            "status": file.status,
            "additions": file.additions,
            "deletions": file.deletions,
            "changes": file.additions + file.deletions,
            "blob_url": self.html(f"/{repository.full_name}/blob/{head}/{file.path}"),
            "raw_url": self.html(f"/{repository.full_name}/raw/{head}/{file.path}"),
            "contents_url": f"{url}/contents/{file.path}?ref={head}",
        }
        shown |= {"patch": file.patch} if file.patch else {}
        return shown | ({"previous_filename": file.previous} if file.previous else {})

    def ref(self, repository: Repository, name: str, sha: str) -> Json:
        """A ref: "heads/main"."""
        url = self.api(f"/repos/{repository.full_name}")
        return {
            "ref": f"refs/{name}",
            "node_id": f"REF_{repository.id}_{name}",
            "url": f"{url}/git/refs/{name}",
            "object": {"sha": sha, "type": "commit", "url": f"{url}/git/commits/{sha}"},
        }

    def branch(self, repository: Repository, name: str) -> Json:
        """A branch, and whether it is protected."""
        url = self.api(f"/repos/{repository.full_name}/branches/{name}")
        own = rules.protection(repository, name)
        guarded = own is not None or bool(rules.rulesets(repository, name))
        contexts = list(own.contexts) if own else []
        level = "everyone" if own and own.enforce_admins else "non_admins" if own else "off"
        checks = [{"context": c, "app_id": None} for c in contexts]
        told = {"enforcement_level": level, "contexts": contexts, "checks": checks}
        return {
            "name": name,
            "commit": self.commit(repository, repository.tip(name)),
            "_links": {"html": self.html(f"/{repository.full_name}/tree/{name}"), "self": url},
            "protected": guarded,
            "protection": {"enabled": own is not None, "required_status_checks": told},
            "protection_url": f"{url}/protection",
        }

    def protection(self, repository: Repository, name: str, own: Protection) -> Json:
        """A branch's classic protection."""
        url = self.api(f"/repos/{repository.full_name}/branches/{name}/protection")
        found: Json = {
            "url": url,
            "required_signatures": {"url": f"{url}/required_signatures", "enabled": own.signatures},
            "enforce_admins": {"url": f"{url}/enforce_admins", "enabled": own.enforce_admins},
            "required_linear_history": {"enabled": own.linear_history},
            "allow_force_pushes": {"enabled": False},
            "allow_deletions": {"enabled": False},
            "block_creations": {"enabled": False},
            "required_conversation_resolution": {"enabled": own.conversation_resolution},
            "lock_branch": {"enabled": own.locked},
            "allow_fork_syncing": {"enabled": False},
        }
        if own.contexts:
            found["required_status_checks"] = {
                "url": f"{url}/required_status_checks",
                "strict": own.strict,
                "contexts": list(own.contexts),
                "contexts_url": f"{url}/required_status_checks/contexts",
                "checks": [{"context": c, "app_id": None} for c in own.contexts],
            }
        if own.needs_reviews:
            found["required_pull_request_reviews"] = {
                "url": f"{url}/required_pull_request_reviews",
                "dismiss_stale_reviews": own.dismiss_stale,
                "require_code_owner_reviews": own.code_owners,
                "require_last_push_approval": own.last_push_approval,
                "required_approving_review_count": own.approvals,
            }
        return found

    def rules_of(self, repository: Repository, ruleset: Ruleset) -> list[Json]:
        """What a ruleset asks of a branch, a rule each."""
        asked = ruleset.rules
        found: list[Json] = []
        if asked.contexts:
            checks = [{"context": c} for c in asked.contexts]
            told = {"required_status_checks": checks, "strict_required_status_checks_policy": asked.strict}
            found.append({"type": "required_status_checks", "parameters": told})
        if asked.needs_reviews or asked.conversation_resolution:
            parameters: Json = {
                "dismiss_stale_reviews_on_push": asked.dismiss_stale,
                "require_code_owner_review": asked.code_owners,
                "require_last_push_approval": asked.last_push_approval,
                "required_approving_review_count": asked.approvals,
                "required_review_thread_resolution": asked.conversation_resolution,
            }
            if ruleset.allowed_merge_methods:
                parameters["allowed_merge_methods"] = list(ruleset.allowed_merge_methods)
            found.append({"type": "pull_request", "parameters": parameters})
        found += [{"type": "required_signatures"}] if asked.signatures else []
        found += [{"type": "required_linear_history"}] if asked.linear_history else []
        if ruleset.merge_queue:
            queue = {
                "check_response_timeout_minutes": 60,
                "grouping_strategy": "ALLGREEN",
                "max_entries_to_build": 5,
                "max_entries_to_merge": 5,
                "merge_method": "SQUASH",
                "min_entries_to_merge": 1,
                "min_entries_to_merge_wait_minutes": 0,
            }
            found.append({"type": "merge_queue", "parameters": queue})
        where = {
            "ruleset_source_type": "Repository",
            "ruleset_source": repository.full_name,
            "ruleset_id": ruleset.id,
        }
        return [rule | where for rule in found]

    # Pull requests

    def pull(self, repository: Repository, pull: PullRequest) -> Json:
        """A pull request, as it stands in a list."""
        url = self.api(f"/repos/{repository.full_name}/pulls/{pull.number}")
        issue = self.api(f"/repos/{repository.full_name}/issues/{pull.number}")
        html = self.html(f"/{repository.full_name}/pull/{pull.number}")
        statuses = self.api(f"/repos/{repository.full_name}/statuses/{pull.head_sha}")
        links = {
            "self": url,
            "html": html,
            "issue": issue,
            "comments": f"{issue}/comments",
            "review_comments": f"{url}/comments",
            "review_comment": self.api(f"/repos/{repository.full_name}/pulls/comments{{/number}}"),
            "commits": f"{url}/commits",
            "statuses": statuses,
        }
        return {
            "id": pull.id,
            "node_id": pull.node_id,
            "number": pull.number,
            "state": pull.state,
            "locked": pull.locked,
            "active_lock_reason": None,
            "title": pull.title,
            "body": pull.body or None,
            "user": self.user(pull.login),
            "labels": [self.label(repository, name) for name in pull.labels],
            "milestone": None,
            "assignee": None,
            "assignees": [],
            "requested_reviewers": [self.user(login) for login in pull.requested_reviewers],
            "requested_teams": [],
            "draft": pull.draft,
            "created_at": pull.created_at,
            "updated_at": pull.updated_at,
            "closed_at": pull.closed_at or None,
            "merged_at": pull.merged_at or None,
            "merge_commit_sha": pull.merge_commit or pull.test_merge or None,
            "author_association": self.association(repository, pull.login),
            "auto_merge": self.auto_merge(pull),
            "head": self.end(
                pull.head_owner, pull.head_ref, pull.head_sha, self.state.repository(pull.head_repository)
            ),
            "base": self.end(repository.owner, pull.base_ref, pull.base_sha, repository),
            "url": url,
            "html_url": html,
            "diff_url": f"{html}.diff",
            "patch_url": f"{html}.patch",
            "issue_url": issue,
            "commits_url": f"{url}/commits",
            "review_comments_url": f"{url}/comments",
            "review_comment_url": links["review_comment"],
            "comments_url": f"{issue}/comments",
            "statuses_url": statuses,
            "_links": {name: {"href": href} for name, href in links.items()},
        }

    def full_pull(self, repository: Repository, pull: PullRequest, *, asking: bool = False) -> Json:
        """What one pull request tells; `asking` for it starts the computation of `mergeable`."""
        known = rules.mergeable(repository, pull, asking=asking)
        state = rules.merge_state(repository, pull, asking=False) if known != "UNKNOWN" else "UNKNOWN"
        base = plumbing.merge_base(repository.git, pull.base_sha, pull.head_sha)
        files = plumbing.changed_files(repository.git, base, pull.head_sha) if base else ()
        return {
            **self.pull(repository, pull),
            "merged": pull.merged,
            "mergeable": {"MERGEABLE": True, "CONFLICTING": False, "UNKNOWN": None}[known],
            "rebaseable": {"MERGEABLE": True, "CONFLICTING": False, "UNKNOWN": None}[known],
            "mergeable_state": state.lower(),
            "merged_by": self.user(pull.merged_by),
            "comments": len(repository.comments_on(pull.number)),
            "review_comments": sum(len(t.comments) for t in pull.threads),
            "maintainer_can_modify": pull.maintainer_can_modify,
            "commits": len(pull.commits),
            "additions": sum(f.additions for f in files),
            "deletions": sum(f.deletions for f in files),
            "changed_files": len(files),
        }

    def end(self, owner: str, ref: str, sha: str, repository: Repository | None) -> Json:
        """The head or the base of a pull request."""
        told = self.repository(repository) if repository else None
        return {"label": f"{owner}:{ref}", "ref": ref, "sha": sha, "user": self.user(owner), "repo": told}

    def auto_merge(self, pull: PullRequest) -> Json | None:
        """Who asked for the merge, and how."""
        if pull.auto_merge is None:
            return None
        return {
            "enabled_by": self.user(pull.auto_merge.login),
            "merge_method": pull.auto_merge.method,
            "commit_title": pull.auto_merge.title,
            "commit_message": pull.auto_merge.message,
        }

    def label(self, repository: Repository, name: str) -> Json:
        """A label."""
        return {
            "id": 1,
            "node_id": f"LA_{name}",
            "url": self.api(f"/repos/{repository.full_name}/labels/{quote(name)}"),
            "name": name,
            "description": repository.labels.get(name) or None,
            "color": "ededed",
            "default": False,
        }

    def association(self, repository: Repository, login: str) -> str:
        """Return what the author is to the repository."""
        organization = self.state.account(repository.owner).type == "Organization"
        return rules.association(repository, login, organization=organization)

    def review(self, repository: Repository, pull: PullRequest, review: Review) -> Json:
        """A review."""
        html = self.html(f"/{repository.full_name}/pull/{pull.number}#pullrequestreview-{review.id}")
        url = self.api(f"/repos/{repository.full_name}/pulls/{pull.number}")
        submitted = {"submitted_at": review.submitted_at} if review.submitted_at else {}
        return {
            "id": review.id,
            "node_id": review.node_id,
            "user": self.user(review.login),
            "body": review.body,
            "state": review.state,
            "html_url": html,
            "pull_request_url": url,
            "author_association": self.association(repository, review.login),
            "_links": {"html": {"href": html}, "pull_request": {"href": url}},
            "commit_id": review.commit,
            **submitted,
        }

    def review_comment(
        self, repository: Repository, pull: PullRequest, thread: Thread, comment: ReviewComment
    ) -> Json:
        """A comment of a thread."""
        url = self.api(f"/repos/{repository.full_name}/pulls/comments/{comment.id}")
        html = self.html(f"/{repository.full_name}/pull/{pull.number}#discussion_r{comment.id}")
        whole = self.api(f"/repos/{repository.full_name}/pulls/{pull.number}")
        lines = len(comment.diff_hunk.splitlines()) - 1
        found = {
            "url": url,
            "pull_request_review_id": comment.review,
            "id": comment.id,
            "node_id": comment.node_id,
            "diff_hunk": comment.diff_hunk,
            "path": thread.path,
            "commit_id": thread.commit,
            "original_commit_id": comment.original_commit,
            "user": self.user(comment.login),
            "body": comment.body,
            "created_at": comment.created_at,
            "updated_at": comment.updated_at,
            "html_url": html,
            "pull_request_url": whole,
            "author_association": self.association(repository, comment.login),
            "_links": {"self": {"href": url}, "html": {"href": html}, "pull_request": {"href": whole}},
            "start_line": thread.start_line,
            "original_start_line": thread.start_line,
            "start_side": thread.side if thread.start_line else None,
            "line": thread.line,
            "original_line": thread.original_line,
            "side": thread.side,
            "subject_type": thread.subject,
            "position": None if thread.line is None else max(lines, 1),
            "original_position": max(lines, 1),
        }
        for name in ("line", "original_line", "position"):
            if found[name] is None and thread.subject == "file":
                del found[name]
        return found | ({"in_reply_to_id": comment.in_reply_to} if comment.in_reply_to else {})

    # Issues

    def issue(self, repository: Repository, subject: Issue | PullRequest) -> Json:
        """An issue; a pull request is one, too."""
        url = self.api(f"/repos/{repository.full_name}/issues/{subject.number}")
        kind = "pull" if isinstance(subject, PullRequest) else "issues"
        html = self.html(f"/{repository.full_name}/{kind}/{subject.number}")
        reason = subject.state_reason if isinstance(subject, Issue) else ""
        found: Json = {
            "id": subject.id,
            "node_id": subject.node_id,
            "number": subject.number,
            "title": subject.title,
            "body": subject.body or None,
            "state": subject.state,
            "state_reason": reason or None,
            "locked": subject.locked,
            "active_lock_reason": None,
            "user": self.user(subject.login),
            "labels": [self.label(repository, name) for name in subject.labels],
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "comments": len(repository.comments_on(subject.number)),
            "closed_at": subject.closed_at or None,
            "closed_by": self.user(subject.closed_by),
            "created_at": subject.created_at,
            "updated_at": subject.updated_at,
            "author_association": self.association(repository, subject.login),
            "url": url,
            "html_url": html,
            "repository_url": self.api(f"/repos/{repository.full_name}"),
            "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "timeline_url": f"{url}/timeline",
        }
        if isinstance(subject, PullRequest):
            pull = self.api(f"/repos/{repository.full_name}/pulls/{subject.number}")
            found["draft"] = subject.draft
            found["pull_request"] = {
                "url": pull,
                "html_url": html,
                "diff_url": f"{html}.diff",
                "patch_url": f"{html}.patch",
                "merged_at": subject.merged_at or None,
            }
        return found

    def comment(self, repository: Repository, comment: Comment) -> Json:
        """A comment of a conversation."""
        kind = "pull" if comment.number in repository.pulls else "issues"
        html = self.html(f"/{repository.full_name}/{kind}/{comment.number}#issuecomment-{comment.id}")
        return {
            "id": comment.id,
            "node_id": comment.node_id,
            "url": self.api(f"/repos/{repository.full_name}/issues/comments/{comment.id}"),
            "html_url": html,
            "issue_url": self.api(f"/repos/{repository.full_name}/issues/{comment.number}"),
            "body": comment.body,
            "user": self.user(comment.login),
            "created_at": comment.created_at,
            "updated_at": comment.updated_at,
            "author_association": self.association(repository, comment.login),
            "performed_via_github_app": None,
        }

    # CI

    def app(self, slug: str) -> Json:
        """A GitHub App."""
        bot = self.state.account(f"{slug}[bot]")
        return {
            "id": bot.id,
            "slug": slug,
            "node_id": f"A_{bot.id}",
            "owner": self.user("github"),
            "name": "GitHub Actions" if slug == "github-actions" else slug.title(),
            "description": None,
            "external_url": "https://help.github.com/en/actions",
            "html_url": self.html(f"/apps/{slug}"),
            "created_at": "2018-07-30T09:30:17Z",
            "updated_at": "2024-04-10T20:33:16Z",
            "permissions": {"checks": "write"},
            "events": [],
        }

    def check(self, repository: Repository, check: CheckRun) -> Json:
        """A check run."""
        url = self.api(f"/repos/{repository.full_name}/check-runs/{check.id}")
        html = self.html(f"/{repository.full_name}/runs/{check.id}")
        return {
            "id": check.id,
            "node_id": check.node_id,
            "head_sha": check.sha,
            "external_id": check.external_id,
            "name": check.name,
            "url": url,
            "html_url": html,
            "details_url": check.details_url or html,
            "status": check.status,
            "conclusion": check.conclusion or None,
            "started_at": check.started_at or None,
            "completed_at": check.completed_at or None,
            "check_suite": {"id": check.suite},
            "output": {
                "title": check.title or None,
                "summary": check.summary or None,
                "text": check.text or None,
                "annotations_count": len(check.annotations),
                "annotations_url": f"{url}/annotations",
            },
            "app": self.app(check.app),
            "pull_requests": [],
        }

    def annotation(self, repository: Repository, check: CheckRun, told: Annotation) -> Json:
        """What a check says of a line, or of itself."""
        return {
            "path": told.path,
            "blob_href": self.html(f"/{repository.full_name}/blob/{check.sha}/{told.path}"),
            "start_line": told.line,
            "start_column": None,
            "end_line": told.line,
            "end_column": None,
            "annotation_level": told.level,
            "title": told.title,
            "message": told.message,
            "raw_details": "",
        }

    def status(self, repository: Repository, status: CommitStatus, *, short: bool = False) -> Json:
        """A commit status; `short` as it stands in the combined one."""
        avatar = self.html(f"/avatars/u/{self.state.account(status.login).id}?v=4")
        found = {
            "url": self.api(f"/repos/{repository.full_name}/statuses/{status.sha}"),
            "avatar_url": avatar,
            "id": status.id,
            "node_id": status.node_id,
            "state": status.state,
            "description": status.description or None,
            "target_url": status.target_url or None,
            "context": status.context,
            "created_at": status.created_at,
            "updated_at": status.created_at,
        }
        return found if short else found | {"creator": self.user(status.login)}

    def run(self, repository: Repository, run: WorkflowRun) -> Json:
        """A workflow run."""
        url = self.api(f"/repos/{repository.full_name}/actions/runs/{run.id}")
        workflow = repository.workflows[run.workflow]
        told = plumbing.read_commit(repository.git, run.sha)
        api = self.api(f"/repos/{repository.full_name}")
        by = person(self.state, run.login)
        return {
            "id": run.id,
            "name": workflow.name,
            "node_id": run.node_id,
            "check_suite_id": run.suite,
            "check_suite_node_id": next(s.node_id for s in repository.suites if s.id == run.suite),
            "head_branch": run.branch,
            "head_sha": run.sha,
            "path": workflow.path,
            "display_title": told.message.splitlines()[0] if told.message else "",
            "run_number": run.run_number,
            "run_attempt": run.attempt,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion or None,
            "workflow_id": workflow.id,
            "url": url,
            "html_url": self.html(f"/{repository.full_name}/actions/runs/{run.id}"),
            "pull_requests": [],
            "created_at": run.created_at,
            "updated_at": run.updated_at,
            "run_started_at": run.created_at,
            "actor": self.user(run.login),
            "triggering_actor": self.user(run.login),
            "jobs_url": f"{url}/jobs",
            "logs_url": f"{url}/logs",
            "check_suite_url": f"{api}/check-suites/{run.suite}",
            "artifacts_url": f"{url}/artifacts",
            "cancel_url": f"{url}/cancel",
            "rerun_url": f"{url}/rerun",
            "previous_attempt_url": f"{url}/attempts/{run.attempt - 1}" if run.attempt > 1 else None,
            "workflow_url": f"{api}/actions/workflows/{workflow.id}",
            "head_commit": {
                "id": told.sha,
                "tree_id": told.tree,
                "message": told.message,
                "timestamp": told.committed_at,
                "author": {"name": by.name, "email": by.email},
                "committer": {"name": told.committer.name, "email": told.committer.email},
            },
            "repository": self.minimal(repository),
            "head_repository": self.minimal(repository),
        }

    def job(self, repository: Repository, run: WorkflowRun, job: Job) -> Json:
        """An attempt at a job."""
        api = self.api(f"/repos/{repository.full_name}")
        return {
            "id": job.id,
            "run_id": run.id,
            "workflow_name": run.workflow,
            "head_branch": run.branch,
            "run_url": f"{api}/actions/runs/{run.id}",
            "run_attempt": job.attempt,
            "node_id": job.node_id,
            "head_sha": run.sha,
            "url": f"{api}/actions/jobs/{job.id}",
            "html_url": self.html(f"/{repository.full_name}/actions/runs/{run.id}/job/{job.id}"),
            "status": job.status,
            "conclusion": job.conclusion or None,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "completed_at": job.completed_at or None,
            "name": job.name,
            "steps": [
                {
                    "name": s.name,
                    "status": s.status,
                    "conclusion": s.conclusion or None,
                    "number": s.number,
                    "started_at": s.started_at,
                    "completed_at": s.completed_at or None,
                }
                for s in job.steps
            ],
            "check_run_url": f"{api}/check-runs/{job.id}",
            "labels": ["ubuntu-latest"],
            "runner_id": 1,
            "runner_name": "GitHub Actions 1",
            "runner_group_id": 0,
            "runner_group_name": "GitHub Actions",
        }
