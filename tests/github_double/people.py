"""Everybody else on the double: repositories as they are set up, people who push, review, comment, merge, and CI."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from github_double import merging, moves, plumbing, rules
from github_double.ci import Ci, Report, report_check, report_status
from github_double.state import (
    Comment,
    Issue,
    Level,
    MergeQueue,
    Protection,
    PullRequest,
    Repository,
    Review,
    Ruleset,
    State,
    Thread,
    Token,
    Workflow,
    WorkflowRun,
)


class People:
    """What tests let others do. Where no repository is named, the first one is meant."""

    def __init__(self, folder: Path, state: State, ci: Ci) -> None:
        self.folder = folder
        self.state = state
        self.ci = ci
        self.main = ""

    # What stands at the beginning

    def create_repository(
        self,
        full_name: str,
        files: Mapping[str, str] | None = None,
        *,
        protection: Protection | None = None,
        rulesets: Sequence[Ruleset] = (),
        workflows: Mapping[str, str] | None = None,
        people: Mapping[str, Level] | None = None,
        queue: bool = False,
        **settings: Any,
    ) -> Repository:
        """Make a repository with a first commit. `workflows` are jobs' shell commands, `people` have permissions."""
        owner, name = full_name.split("/")
        with self.state.lock:
            bare = self._bare(owner, name)
            made = self.state.add_repository(owner, name, bare, **settings)
            made.permissions |= dict(people or {})
            for login in made.permissions:
                self.state.account(login)
            first = self._written(made, files or {"README.md": f"# {name}\n"}, "", owner, "Begin")
            plumbing.move(bare, f"refs/heads/{made.default_branch}", first)
            for job, command in (workflows or {}).items():
                self.add_workflow(job, {job: command}, repository=full_name)
            made.rulesets += rulesets
            if protection:
                made.protections[made.default_branch] = protection
            if queue:
                self.add_queue(made.default_branch, full_name)
            self.main = self.main or made.full_name
            self.guard(made)
        return made

    def _bare(self, owner: str, name: str) -> Path:
        bare = self.state.folder / owner / f"{name}.git"
        bare.mkdir(parents=True)
        plumbing.git(bare, "init", "-q", "--bare", "--template=", "-b", "main", ".")
        return bare

    def protect(self, protection: Protection | None, branch: str = "main", repository: str = "") -> None:
        """Protect a branch, or no longer."""
        known = self.repository(repository)
        with self.state.lock:
            if protection is None:
                known.protections.pop(branch, None)
            else:
                known.protections[branch] = protection
            self.guard(known)
            merging.tick(self.state, known)

    def add_ruleset(self, asked: Protection, repository: str = "", **more: Any) -> Ruleset:
        """Add a ruleset for the default branch, or for `branches`."""
        known = self.repository(repository)
        number = self.state.new_id()
        made = Ruleset(number, "main", asked, node_id=self.state.node("RRS", number), **more)
        with self.state.lock:
            known.rulesets.append(self.state.known(made))
            self.guard(known)
        return made

    def add_queue(self, branch: str = "main", repository: str = "") -> MergeQueue:
        """Let changes of a branch come through a merge queue, as a ruleset says."""
        known = self.repository(repository)
        number = self.state.new_id()
        queue = MergeQueue(self.state.node("MQ", number), branch)
        known.queues[branch] = self.state.known(queue)
        self.add_ruleset(Protection(), known.full_name, merge_queue=True, branches=(branch,))
        return queue

    def add_workflow(self, name: str, jobs: Mapping[str, str], *, repository: str = "", **more: Any) -> Workflow:
        """Add a workflow: jobs' shell commands, each a check; `on` and `paths` as in a workflow's file."""
        known = self.repository(repository) if repository or self.main else None
        assert known is not None
        number = self.state.new_id()
        made = Workflow(number, self.state.node("W", number), name, dict(jobs), **more)
        known.workflows[name] = self.state.known(made)
        return made

    def rename(self, full_name: str, repository: str = "") -> None:
        """Rename or transfer a repository; its old name leads to the new one."""
        known = self.repository(repository)
        with self.state.lock:
            old, (owner, name) = known.full_name, full_name.split("/")
            del self.state.repositories[old.casefold()]
            known.owner, known.name = self.state.account(owner).login, name
            self.state.repositories[full_name.casefold()] = known
            self.state.moved |= {
                key: full_name.casefold() for key, to in self.state.moved.items() if to == old.casefold()
            }
            self.state.moved[old.casefold()] = full_name.casefold()
            self.main = full_name if self.main == old else self.main
            new = self.state.folder / owner / f"{name}.git"
            new.parent.mkdir(parents=True, exist_ok=True)
            new.symlink_to(known.git)
            for other in self.state.repositories.values():
                other.parent = full_name if other.parent == old else other.parent
                for pull in [p for p in other.pulls.values() if p.head_repository == old]:
                    pull.head_repository, pull.head_owner = full_name, owner

    def fork(self, owner: str, repository: str = "") -> Repository:
        """Fork a repository."""
        source = self.repository(repository)
        with self.state.lock:
            bare = self._bare(owner, source.name)
            plumbing.git(bare, "fetch", "-q", str(source.git), "refs/heads/*:refs/heads/*")
            return self.state.add_repository(owner, source.name, bare, parent=source.full_name)

    def token(
        self,
        login: str,
        kind: Literal["classic", "fine-grained", "actions"] = "classic",
        scopes: Sequence[str] = ("repo",),
        permissions: Mapping[str, str] | None = None,
        repositories: Sequence[str] | None = None,
    ) -> str:
        """Return a new token of an account, which is made where there is none."""
        prefix = {"classic": "ghp_", "fine-grained": "github_pat_", "actions": "ghs_"}[kind]
        value = f"{prefix}{self.state.new_id():036d}"
        chosen = frozenset(repositories) if repositories is not None else None
        login = self.state.account(login).login
        self.state.tokens[value] = Token(value, login, kind, frozenset(scopes), dict(permissions or {}), chosen)
        return value

    # What stands

    def repository(self, full_name: str = "") -> Repository:
        """Return a repository, the first where none is named."""
        found = self.state.repository(full_name or self.main)
        assert found is not None, full_name
        return found

    def pull(self, number: int, repository: str = "") -> PullRequest:
        """Return a pull request."""
        return self.repository(repository).pulls[number]

    def pulls(self, repository: str = "") -> list[PullRequest]:
        """Return all pull requests, oldest first."""
        return list(self.repository(repository).pulls.values())

    def issue(self, number: int, repository: str = "") -> Issue:
        """Return an issue."""
        return self.repository(repository).issues[number]

    def comments(self, number: int, repository: str = "") -> list[Comment]:
        """Return the conversation's comments."""
        return self.repository(repository).comments_on(number)

    def tip(self, branch: str = "main", repository: str = "") -> str:
        """Return a branch's commit, "" for none."""
        return self.repository(repository).tip(branch)

    def read(self, path: str, at: str = "main", repository: str = "") -> str:
        """Return a file's content, as of a branch or a commit."""
        return plumbing.git(self.repository(repository).git, "show", f"{at}:{path}")

    def runs(self, name: str = "", repository: str = "") -> list[WorkflowRun]:
        """Return the runs of workflows, oldest first."""
        return [r for r in self.repository(repository).runs if name in {"", r.workflow}]

    def limit(self, login: str, resource: Literal["core", "graphql"], remaining: int, seconds: float = 3600) -> None:
        """Leave an account so much of its hour, which ends in so many seconds."""
        quota = self.state.quota(login, resource)
        quota.used, quota.resets_at = quota.limit - remaining, self.state.clock() + seconds

    # CI

    def hold(self, job: str) -> None:
        """Let the job's attempts stay in progress until `release`."""
        self.ci.hold(job)

    def release(self, job: str) -> None:
        """Let those that are held go on."""
        self.ci.release(job)

    def settle(self) -> None:
        """Wait until all CI that is not held has reported."""
        self.ci.settle()

    def report_status(
        self, number: int, context: str, state: str, description: str = "", url: str = "", repository: str = ""
    ) -> None:
        """Let another CI set a commit status on a pull request's head."""
        known = self.repository(repository)
        with self.state.lock:
            told = Report(context, state, description, url, self.state.account("ci-bot[bot]").login)
            report_status(self.state, known, known.pulls[number].head_sha, told)

    def report_check(
        self,
        number: int,
        name: str,
        conclusion: str,
        title: str = "",
        app: str = "circleci-checks",
        repository: str = "",
    ) -> None:
        """Let another app report a check on a pull request's head; without a conclusion it is in progress."""
        known = self.repository(repository)
        with self.state.lock:
            told = Report(name, conclusion, title, "", app)
            report_check(self.state, known, known.pulls[number].head_sha, told)

    # People

    def open_issue(self, title: str, body: str = "", login: str = "ada", repository: str = "") -> int:
        """Open an issue; return its number."""
        with self.state.lock:
            return moves.open_issue(self.state, self.repository(repository), self._login(login), title, body).number

    def label(self, number: int, *names: str, repository: str = "") -> None:
        """Put labels on an issue or a pull request."""
        with self.state.lock:
            known = self.repository(repository)
            subject = known.pulls.get(number) or known.issues[number]
            for name in names:
                known.labels.setdefault(name, "")
                subject.labels += [name] if name not in subject.labels else []
            subject.updated_at = self.state.now()

    def unlabel(self, number: int, *names: str, repository: str = "") -> None:
        """Take labels off an issue."""
        with self.state.lock:
            subject = self.issue(number, repository)
            subject.labels = [name for name in subject.labels if name not in names]
            subject.updated_at = self.state.now()

    def edit_issue(self, number: int, body: str, repository: str = "") -> None:
        """Write an issue anew."""
        with self.state.lock:
            subject = self.issue(number, repository)
            subject.body, subject.updated_at = body, self.state.now()

    def transfer_issue(self, number: int, goal: str, repository: str = "") -> int:
        """Move an issue, its comments and labels into another repository; return its number there."""
        with self.state.lock:
            here, there = self.repository(repository), self.repository(goal)
            issue = here.issues.pop(number)
            made = moves.open_issue(self.state, there, issue.login, issue.title, issue.body)
            made.labels = issue.labels
            for name in issue.labels:
                there.labels.setdefault(name, "")
            self.state.moved_issues[here.full_name, str(number)] = there.full_name, made.number
            return made.number

    def close_issue(self, number: int, reason: str = "completed", login: str = "ada", repository: str = "") -> None:
        """Close an issue by hand: completed, or not_planned."""
        with self.state.lock:
            subject = self.issue(number, repository)
            moves.close_issue(self.state, subject, self._login(login))
            subject.state_reason = reason

    def delete_comment(self, comment: Comment, repository: str = "") -> None:
        """Delete a comment of a conversation."""
        with self.state.lock:
            self.repository(repository).comments.remove(comment)

    def open_pull_by_person(
        self,
        branch: str,
        login: str = "ada",
        title: str = "A change",
        body: str = "",
        repository: str = "",
        **more: Any,
    ) -> int:
        """Open a pull request from a branch ("owner:branch" of a fork); return its number."""
        known = self.repository(repository)
        asked = moves.Proposal(title, branch, more.pop("base", known.default_branch), body, **more)
        with self.state.lock:
            return moves.open_pull(self.state, known, self._login(login), asked).number

    def push_by_person(
        self,
        branch: str,
        files: Mapping[str, str | None],
        login: str = "ada",
        *,
        force: bool = False,
        message: str = "Change by hand",
        repository: str = "",
    ) -> str:
        """Commit to a branch, made where there is none; `force` replaces its last commit. None deletes a file."""
        known = self.repository(repository)
        login = self._login(login)
        with self.state.lock:
            tip = known.tip(branch)
            parent = tip or known.tip(known.default_branch)
            if force and tip:
                parent = plumbing.read_commit(known.git, tip).parents[0]
            commit = self._written(known, files, parent, login, message)
            moves.move_branch(self.state, known, branch, commit, login)
        return commit

    def merge_base_by_person(self, branch: str, login: str = "ada", base: str = "main", repository: str = "") -> str:
        """Merge the base into a branch, as a person does with git."""
        known = self.repository(repository)
        with self.state.lock:
            ours, theirs = known.tip(branch), known.tip(base)
            tree = plumbing.merged_tree(known.git, ours, theirs)
            said = f"Merge branch '{base}' into {branch}"
            by = moves.person(self.state, self._login(login))
            commit = plumbing.write_commit(known.git, tree, [ours, theirs], said, by)
            moves.move_branch(self.state, known, branch, commit, self._login(login))
        return commit

    def comment(self, number: int, body: str, login: str = "ada", repository: str = "") -> Comment:
        """Say something in a conversation."""
        with self.state.lock:
            return moves.comment(self.state, self.repository(repository), number, self._login(login), body)

    def remark(
        self,
        number: int,
        body: str,
        login: str = "ada",
        path: str = "",
        line: int | None = None,
        *,
        repository: str = "",
        within: Review | None = None,
    ) -> str:
        """Start a thread at a line of the diff; return its id. Without a path: at the first changed line."""
        known = self.repository(repository)
        with self.state.lock:
            pull = known.pulls[number]
            path = path or plumbing.changed_files(known.git, pull.base_sha, pull.head_sha)[0].path
            place = moves.Place(path, line)
            return moves.remark(self.state, known, pull, self._login(login), body, place, within).node_id

    def answer(self, thread: str, body: str, login: str = "ada") -> None:
        """Answer in a thread."""
        with self.state.lock:
            known = self.thread(thread)
            moves.reply(self.state, self.state.repository_of(known), known, self._login(login), body)

    def thread(self, thread: str) -> Thread:
        """Return a thread by its id."""
        found = self.state.nodes[thread]
        assert isinstance(found, Thread)
        return found

    def resolve(self, thread: str, login: str = "ada") -> None:
        """Resolve a thread."""
        with self.state.lock:
            known = self.thread(thread)
            moves.resolve(self.state, self.state.repository_of(known), known, self._login(login))
            self.ticked()

    def review(
        self,
        number: int,
        state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED"] = "APPROVED",
        body: str = "",
        login: str = "ada",
        repository: str = "",
    ) -> Review:
        """Review a pull request."""
        known = self.repository(repository)
        with self.state.lock:
            made = moves.review(self.state, known, known.pulls[number], self._login(login), state, body)
            self.ticked()
        return made

    def dismiss(self, review: Review) -> None:
        """Dismiss a review."""
        with self.state.lock:
            review.state = "DISMISSED"
            self.state.pull_of(review).updated_at = self.state.now()

    def close_by_person(self, number: int, login: str = "ada", repository: str = "") -> None:
        """Close a pull request unmerged."""
        known = self.repository(repository)
        with self.state.lock:
            moves.close(self.state, known, known.pulls[number], self._login(login))

    def reopen_by_person(self, number: int, login: str = "ada", repository: str = "") -> None:
        """Open a pull request again."""
        known = self.repository(repository)
        with self.state.lock:
            moves.reopen(self.state, known, known.pulls[number], self._login(login))

    def merge_by_person(
        self, number: int, login: str = "ada", method: merging.Method = "squash", repository: str = ""
    ) -> str:
        """Merge a pull request; return the commit."""
        known = self.repository(repository)
        with self.state.lock:
            return merging.merge(self.state, known, known.pulls[number], self._login(login), method)

    def delete_branch(self, branch: str, login: str = "ada", repository: str = "") -> None:
        """Delete a branch."""
        with self.state.lock:
            moves.delete_branch(self.state, self.repository(repository), branch, self._login(login))

    def at_the_last_moment(self, action: Callable[[], object]) -> None:
        """Run this within the next merge request, before it takes effect. It may act here, not over HTTP."""
        self.state.last_moment.append(lambda: (action(), None)[1])

    def _login(self, login: str) -> str:
        return self.state.account(login).login

    def _written(
        self, repository: Repository, files: Mapping[str, str | None], parent: str, login: str, message: str
    ) -> str:
        """Return a new commit with these files changed."""
        index = self.folder / f"index-{self.state.new_id()}"

        def git(*arguments: str, stdin: bytes = b"") -> str:
            return plumbing.git(repository.git, *arguments, stdin=stdin, GIT_INDEX_FILE=str(index))

        if parent:
            git("read-tree", parent)
        for path, content in files.items():
            if content is None:
                git("update-index", "--force-remove", path)
                continue
            blob = git("hash-object", "-w", "--stdin", stdin=content.encode())
            mode = "100755" if content.startswith("#!") else "100644"
            git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
        tree = git("write-tree")
        index.unlink(missing_ok=True)
        by = moves.person(self.state, login)
        return plumbing.write_commit(repository.git, tree, [parent] if parent else [], message, by)

    def ticked(self) -> None:
        for known in list(self.state.repositories.values()):
            merging.tick(self.state, known)

    def guard(self, repository: Repository) -> None:
        """Let git refuse pushes to branches that the rules keep from it, in GitHub's words."""
        refused = {
            branch: said
            for branch in {repository.default_branch, *repository.protections, *repository.queues}
            if (said := rules.refuses_push(repository, "", branch))
        }
        cases = [
            f"{shlex.quote(f'refs/heads/{branch}')}) printf '%s\\n' "
            f"{shlex.quote(f'error: GH006: Protected branch update failed for refs/heads/{branch}.')} '' "
            f"{shlex.quote(f'- {said}')} >&2; exit 1 ;;"
            for branch, said in refused.items()
        ]
        hook = repository.git / "hooks" / "update"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\ncase $1 in\n" + "\n".join(cases) + "\nesac\n")
        hook.chmod(0o755)
