"""The tests' GitHub itself, where scenario tests lean on it: what it refuses, counts, forgets and gets wrong."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from github_double.double import Double
from github_double.moves import RefusedError
from github_double.state import Protection

REPO = "/repos/acme/widgets"
FILES = {"app.py": "print('one')\nprint('two')\nprint('three')\n", "check.sh": "python3 app.py\n"}


@dataclass(frozen=True)
class Told:
    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        return str(self.body["message"])


class Client:
    """Asks without any library that would try again or follow a redirect."""

    def __init__(self, github: Double, token: str) -> None:
        self.github = github
        self.token = token

    def __call__(self, verb: str, path: str, body: Any = None, **headers: str) -> Told:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.at(verb, f"{self.github.api}{path}", body, {"authorization": f"Bearer {self.token}"} | told)

    def at(self, verb: str, url: str, body: Any, headers: dict[str, str]) -> Told:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        try:
            connection.request(
                verb, f"{parts.path}?{parts.query}", None if body is None else json.dumps(body), headers
            )
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Told(answer.status, told, answer.read())
        finally:
            connection.close()

    def graphql(self, query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        return self.at(
            "POST", f"{self.github.state.url}/api/graphql", body, {"authorization": f"bearer {self.token}"}
        ).body

    def open(self, branch: str, base: str = "main", **more: Any) -> int:
        answer = self("POST", f"{REPO}/pulls", {"title": "A change", "head": branch, "base": base} | more)
        assert answer.status == 201, answer.text
        return int(answer.body["number"])

    def merge(self, number: int, **more: Any) -> Told:
        return self("PUT", f"{REPO}/pulls/{number}/merge", {"merge_method": "squash"} | more)

    def mergeable(self, number: int) -> tuple[Any, str]:
        told = self("GET", f"{REPO}/pulls/{number}").body
        return told["mergeable"], told["mergeable_state"]


def enforced(**asked: Any) -> Protection:
    """Return a protection that holds administrators, too: the client here is one."""
    return Protection(enforce_admins=True, **asked)


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "github") as double:
        double.create_repository("acme/widgets", FILES, people={"octo": "admin", "ada": "write", "bob": "read"})
        yield double


@pytest.fixture
def client(github: Double) -> Client:
    return Client(github, github.token("octo"))


@pytest.fixture
def number(github: Double, client: Client) -> int:
    """An open pull request of octo's that adds a file."""
    github.push_by_person("feature", {"new.py": "a = 1\nb = 2\n"}, "octo")
    return client.open("feature")


def git(*arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=cwd, check=check, capture_output=True, text=True)


@pytest.fixture
def clone(github: Double, client: Client, tmp_path: Path) -> Path:
    """A clone that pushes with the client's token."""
    address = github.url().replace("http://", f"http://x-access-token:{client.token}@")
    git("clone", "-q", address, "clone", cwd=tmp_path)
    for name in ("user.name", "user.email"):
        git("config", name, "octo@example.com", cwd=tmp_path / "clone")
    return tmp_path / "clone"


def push(clone: Path, branch: str, files: dict[str, str]) -> str:
    git("switch", "-qC", branch, cwd=clone)
    for name, content in files.items():
        (clone / name).write_text(content)
    git("add", "-A", cwd=clone)
    git("commit", "-qm", f"Work on {branch}", cwd=clone)
    git("push", "-q", "origin", branch, cwd=clone)
    return git("rev-parse", "HEAD", cwd=clone).stdout.strip()


# Merging


@pytest.mark.parametrize(
    ("asked", "before", "said"),
    [
        (enforced(contexts=("ci",)), lambda _: None, 'Required status check "ci" is expected.'),
        (
            enforced(contexts=("ci",)),
            lambda g: g.report_status(1, "ci", "failure"),
            'Required status check "ci" is failing.',
        ),
        (
            enforced(contexts=("ci", "lint")),
            lambda g: g.report_check(1, "ci", ""),
            "2 of 2 required status checks are pending.",
        ),
        (
            enforced(approvals=1),
            lambda g: g.review(1, login="bob"),
            "At least 1 approving review is required by reviewers with write access.",
        ),
        (
            enforced(approvals=1),
            lambda g: g.review(1, "CHANGES_REQUESTED", "No", "ada"),
            "1 review requesting changes by reviewers with write access.",
        ),
        (enforced(conversation_resolution=True), lambda g: g.remark(1, "Why?"), "All comments must be resolved."),
        (enforced(signatures=True), lambda _: None, "Commits must have verified signatures."),
    ],
)
@pytest.mark.usefixtures("number")
def test_what_protection_asks_for_blocks_a_merge_in_githubs_words(
    github: Double, client: Client, asked: Protection, before: Callable[[Double], object], said: str
) -> None:
    github.protect(asked)
    before(github)
    assert client.mergeable(1) == (None, "unknown")
    assert client.mergeable(1) == (True, "blocked")
    answer = client.merge(1)
    assert (answer.status, answer.message) == (405, said)
    github.protect(None)
    github.add_ruleset(asked)
    assert client.merge(1).message.startswith(f"Repository rule violations found\n\n{said}\n\n")


def test_meeting_all_that_protection_asks_for_lets_it_merge(github: Double, client: Client, number: int) -> None:
    github.protect(enforced(contexts=("ci",), approvals=1, conversation_resolution=True))
    thread = github.remark(number, "Why?", "ada")
    github.report_status(number, "ci", "success")
    github.review(number, login="ada")
    assert client.merge(number).message == "All comments must be resolved."
    github.resolve(thread)
    assert client.merge(number).status == 200


def test_dismissing_stale_reviews_takes_approvals_back_at_a_push(github: Double, client: Client, number: int) -> None:
    github.protect(enforced(approvals=1, dismiss_stale=True))
    github.review(number, login="ada")
    github.push_by_person("feature", {"new.py": "a = 3\n"}, "octo")
    assert client.merge(number).status == 405
    github.review(number, login="ada")
    assert client.merge(number).status == 200


def test_the_last_pusher_cannot_approve_where_somebody_else_must(github: Double, client: Client, number: int) -> None:
    github.protect(enforced(approvals=1, last_push_approval=True))
    github.push_by_person("feature", {"new.py": "a = 3\n"}, "ada")
    github.review(number, login="ada")
    said = "New changes require approval from someone other than the last pusher."
    assert client.merge(number).message == said
    github.push_by_person("feature", {"new.py": "a = 4\n"}, "octo")
    github.review(number, login="ada")
    assert client.merge(number).status == 200


def test_an_administrator_passes_protection_that_does_not_hold_them(
    github: Double, client: Client, number: int
) -> None:
    github.protect(Protection(approvals=1, enforce_admins=False))
    client.mergeable(number)
    assert client.mergeable(number) == (True, "blocked")
    assert client.merge(number).status == 200


def test_a_strict_check_is_expected_again_once_the_base_moved(github: Double, client: Client, number: int) -> None:
    github.protect(enforced(contexts=("ci",), strict=True))
    github.report_status(number, "ci", "success")
    client.mergeable(number)
    assert client.mergeable(number) == (True, "clean")
    github.push_by_person("main", {"other.py": "x\n"}, "ada")
    assert client.mergeable(number) == (None, "unknown")
    assert client.mergeable(number) == (True, "behind")
    assert client.merge(number).message == 'Required status check "ci" is expected.'
    sha = github.pull(number).head_sha
    stale = client("PUT", f"{REPO}/pulls/{number}/update-branch", {"expected_head_sha": "1" * 40})
    assert stale.status == 422
    assert client("PUT", f"{REPO}/pulls/{number}/update-branch", {"expected_head_sha": sha}).status == 202
    assert github.pull(number).head_sha != sha
    again = client("PUT", f"{REPO}/pulls/{number}/update-branch", {})
    assert (again.status, again.message) == (422, "There are no new commits on the base branch.")


def test_a_conflict_is_told_and_refused(github: Double, client: Client) -> None:
    github.push_by_person("feature", {"app.py": "print('ours')\n"}, "octo")
    number = client.open("feature")
    github.push_by_person("main", {"app.py": "print('theirs')\n"}, "ada")
    assert client.mergeable(number) == (None, "unknown")
    assert client.mergeable(number) == (False, "dirty")
    assert (client.merge(number).status, client.merge(number).message) == (405, "Pull Request is not mergeable")


def test_mergeable_stays_unknown_for_as_many_reads_as_it_is_told_to(
    github: Double, client: Client, number: int
) -> None:
    github.repository().slow_mergeable = 3
    assert [client.mergeable(number)[0] for _ in range(4)] == [None, None, None, True]


def test_a_merge_of_another_head_is_refused_and_changes_nothing(github: Double, client: Client, number: int) -> None:
    before = github.tip()
    head = github.pull(number).head_sha
    github.at_the_last_moment(lambda: github.push_by_person("feature", {"late.py": "x\n"}, "ada"))
    answer = client.merge(number, sha=head)
    assert (answer.status, answer.message) == (409, "Head branch was modified. Review and try the merge again.")
    assert github.tip() == before
    assert client.merge(number, sha=github.pull(number).head_sha).status == 200
    assert github.read("late.py") == "x"


@pytest.mark.parametrize(("method", "parents"), [("merge", 2), ("squash", 1), ("rebase", 1)])
def test_each_method_brings_both_sides_together(github: Double, client: Client, method: str, parents: int) -> None:
    github.push_by_person("feature", {"one.py": "1\n"}, "octo", message="One")
    github.push_by_person("feature", {"two.py": "2\n"}, "octo", message="Two")
    number = client.open("feature")
    github.push_by_person("main", {"theirs.py": "3\n"}, "ada")
    before = github.tip()
    answer = client.merge(number, merge_method=method)
    assert answer.body["sha"] == github.tip() == github.pull(number).merge_commit
    assert [github.read(f"{name}.py") for name in ("one", "two", "theirs")] == ["1", "2", "3"]
    told = client("GET", f"{REPO}/commits/{github.tip()}").body
    assert len(told["parents"]) == parents
    count = client("GET", f"{REPO}/compare/{before}...main").body["total_commits"]
    assert count == {"merge": 3, "squash": 1, "rebase": 2}[method]
    again = client.merge(number, merge_method=method)
    assert (again.status, again.message) == (405, "Pull Request is not mergeable")


def test_a_method_that_is_not_allowed_is_refused_by_name(github: Double, client: Client, number: int) -> None:
    github.repository().allow_squash = False
    assert client.merge(number).message == "Squash merges are not allowed on this repository."
    github.protect(enforced(linear_history=True))
    said = client.merge(number, merge_method="merge").message
    assert said == "Merge commits are not allowed on this repository."
    assert client.merge(number, merge_method="rebase").status == 200


def test_a_merge_closes_the_issues_it_names_but_only_into_the_default_branch(github: Double, client: Client) -> None:
    named, said, elsewhere = (github.open_issue(f"Bug {n}") for n in range(3))
    github.push_by_person("release", {"r.py": "1\n"}, "octo")
    github.push_by_person("feature", {"f.py": "1\n"}, "octo")
    github.push_by_person("other", {"o.py": "1\n"}, "octo")
    client.merge(client.open("feature", body=f"Fixes #{named}"), commit_message=f"closes: #{said}")
    client.merge(client.open("other", base="release", body=f"Closes #{elsewhere}"))
    assert [github.issue(n).state for n in (named, said, elsewhere)] == ["closed", "closed", "open"]
    assert github.issue(named).closed_by == "octo"


def test_a_head_that_was_merged_with_git_counts_as_merged(github: Double, client: Client, number: int) -> None:
    github.merge_base_by_person("main", "ada", base="feature")
    told = client("GET", f"{REPO}/pulls/{number}").body
    assert (told["merged"], told["merged_by"]["login"]) == (True, "ada")


def test_auto_merge_waits_for_what_is_required(github: Double, client: Client, number: int) -> None:
    github.repository().allow_auto_merge = True
    github.protect(enforced(contexts=("ci",)))
    ask = "mutation($id: ID!) { enablePullRequestAutoMerge(input: {pullRequestId: $id}) { clientMutationId } }"
    assert "errors" not in client.graphql(ask, id=github.pull(number).node_id)
    assert not github.pull(number).merged
    github.report_status(number, "ci", "success")
    assert github.pull(number).merged
    assert github.pull(number).merged_by == "octo"


def test_a_merge_queue_tests_the_merge_and_puts_out_what_is_red(github: Double, client: Client) -> None:
    github.add_workflow("ci", {"ci": "sh check.sh"})
    github.add_queue()
    github.protect(enforced(contexts=("ci",)))
    github.push_by_person("good", {"good.py": "1\n"}, "octo")
    github.push_by_person("bad", {"check.sh": "test ! -e good.py\n"}, "octo")
    good, bad = client.open("good"), client.open("bad")
    github.settle()
    refused = client.merge(good)
    assert refused.message == "Repository rule violations found\n\nChanges must be made through the merge queue\n\n"
    ask = "mutation($id: ID!) { enqueuePullRequest(input: {pullRequestId: $id}) { mergeQueueEntry { position } } }"
    github.hold("ci")
    for number in (good, bad):
        assert "errors" not in client.graphql(ask, id=github.pull(number).node_id)
    assert not github.pull(good).merged
    github.release("ci")
    github.settle()
    assert github.pull(good).merged
    assert not github.pull(bad).merged
    assert github.pull(bad).state == "open"
    assert not github.repository().queues["main"].entries


# Pull requests


def test_a_second_pull_request_of_a_branch_is_refused_and_found(client: Client, number: int) -> None:
    again = client("POST", f"{REPO}/pulls", {"title": "Again", "head": "feature", "base": "main"})
    assert again.status == 422
    assert again.body["errors"][0]["message"] == "A pull request already exists for acme:feature."
    found = client("GET", f"{REPO}/pulls?head=acme:feature&state=all").body
    assert [p["number"] for p in found] == [number]
    assert client("GET", f"{REPO}/pulls?head=ada:feature&state=all").body == []


@pytest.mark.parametrize(
    ("head", "base", "wrong"),
    [
        ("absent", "main", {"resource": "PullRequest", "code": "invalid", "field": "head"}),
        ("feature", "absent", {"resource": "PullRequest", "code": "invalid", "field": "base"}),
        (
            "same",
            "main",
            {"resource": "PullRequest", "code": "custom", "message": "No commits between main and same"},
        ),
    ],
)
def test_a_pull_request_without_anything_to_merge_is_refused(
    github: Double, client: Client, head: str, base: str, wrong: dict[str, str]
) -> None:
    github.push_by_person("feature", {"new.py": "1\n"})
    assert client("POST", f"{REPO}/git/refs", {"ref": "refs/heads/same", "sha": github.tip()}).status == 201
    answer = client("POST", f"{REPO}/pulls", {"title": "T", "head": head, "base": base})
    assert (answer.status, answer.body["errors"]) == (422, [wrong])


def test_deleting_a_branch_closes_what_is_open_from_it_and_it_opens_again_only_with_the_branch(
    github: Double, client: Client, number: int
) -> None:
    assert client("DELETE", f"{REPO}/git/refs/heads/feature").status == 204
    assert client("GET", f"{REPO}/pulls/{number}").body["state"] == "closed"
    gone = client("DELETE", f"{REPO}/git/refs/heads/feature")
    assert (gone.status, gone.message) == (422, "Reference does not exist")
    assert client("PATCH", f"{REPO}/pulls/{number}", {"state": "open"}).status == 422
    head = github.pull(number).head_sha
    assert client("POST", f"{REPO}/git/refs", {"ref": "refs/heads/feature", "sha": head}).status == 201
    assert client("PATCH", f"{REPO}/pulls/{number}", {"state": "open"}).body["state"] == "open"


def test_a_branch_is_deleted_by_the_merge_where_the_repository_says_so(
    github: Double, client: Client, number: int
) -> None:
    github.repository().delete_branch_on_merge = True
    github.push_by_person("stacked", {"top.py": "1\n"})
    stacked = client.open("stacked", base="feature")
    client.merge(number)
    assert github.tip("feature") == ""
    assert (github.pull(stacked).base_ref, github.pull(stacked).state) == ("main", "open")


def test_a_fork_is_pushed_to_by_its_owner_and_by_maintainers_it_allows(github: Double, client: Client) -> None:
    github.fork("eve")
    github.push_by_person("idea", {"idea.py": "1\n"}, "eve", repository="eve/widgets")
    number = github.open_pull_by_person("eve:idea", "eve")
    told = client("GET", f"{REPO}/pulls/{number}").body
    assert (told["head"]["label"], told["maintainer_can_modify"]) == ("eve:idea", True)
    assert told["author_association"] == "NONE"
    assert github._may(client.token, "eve", "widgets", write=True) == 200
    github.close_by_person(number)
    assert github._may(client.token, "eve", "widgets", write=True) == 403
    later = github.push_by_person("idea", {"idea.py": "2\n"}, "eve", repository="eve/widgets")
    github.reopen_by_person(number, "eve")
    assert github.pull(number).head_sha == later
    github.close_by_person(number)
    github.push_by_person("idea", {"idea.py": "3\n"}, "eve", force=True, repository="eve/widgets")
    with pytest.raises(RefusedError, match="Validation Failed"):
        github.reopen_by_person(number, "eve")


# Reviews and threads


def test_a_thread_follows_its_line_and_is_outdated_once_that_changes(github: Double, client: Client) -> None:
    github.push_by_person("feature", {"new.py": "a = 1\nb = 2\n"}, "octo")
    number = client.open("feature")
    thread = github.thread(github.remark(number, "Why two?", "ada", "new.py", 2))
    assert thread.comments[0].diff_hunk == "@@ -0,0 +1,2 @@\n+a = 1\n+b = 2"
    github.push_by_person("feature", {"new.py": "# first\na = 1\nb = 2\n"}, "octo")
    assert (thread.line, thread.outdated) == (3, False)
    github.push_by_person("feature", {"new.py": "# first\na = 1\nb = 3\n"}, "octo")
    assert (thread.line, thread.outdated, thread.original_line) == (None, True, 2)
    (shown,) = client("GET", f"{REPO}/pulls/{number}/comments").body
    assert (shown["line"], shown["position"], shown["original_line"]) == (None, None, 2)


def test_a_remark_outside_the_diff_is_refused_and_one_on_the_file_is_not(client: Client, number: int) -> None:
    sha = client("GET", f"{REPO}/pulls/{number}").body["head"]["sha"]
    remark = {"body": "Hm", "commit_id": sha, "path": "new.py"}
    refused = client("POST", f"{REPO}/pulls/{number}/comments", remark | {"line": 9, "side": "RIGHT"})
    assert refused.status == 422
    assert refused.body["errors"][0]["message"] == "pull_request_review_thread.line must be part of the diff"
    assert client("POST", f"{REPO}/pulls/{number}/comments", remark | {"subject_type": "file"}).status == 201
    several = remark | {"start_line": 1, "start_side": "RIGHT", "line": 2, "side": "RIGHT"}
    assert client("POST", f"{REPO}/pulls/{number}/comments", several).body["start_line"] == 1
    first = client("POST", f"{REPO}/pulls/{number}/comments", remark | {"line": 2, "side": "RIGHT"}).body
    assert first["id"] > 2**31
    answer = client("POST", f"{REPO}/pulls/{number}/comments/{first['id']}/replies", {"body": "Because"}).body
    assert answer["in_reply_to_id"] == first["id"]
    nested = client("POST", f"{REPO}/pulls/{number}/comments/{answer['id']}/replies", {"body": "Oh"})
    assert nested.status == 404


def test_nobody_approves_their_own(client: Client, number: int) -> None:
    answer = client("POST", f"{REPO}/pulls/{number}/reviews", {"event": "APPROVE"})
    assert (answer.status, answer.body["errors"]) == (422, ["Review Can not approve your own pull request"])


def test_a_thread_is_resolved_by_its_author_or_with_write_permission(github: Double, number: int) -> None:
    thread = github.remark(number, "Hm", "bob")
    with pytest.raises(RefusedError):
        github.resolve(thread, "bob")
    github.resolve(thread, "octo")
    assert github.thread(thread).resolved_by == "octo"


# Git and CI


def test_ci_runs_the_pushed_commit_and_its_output_is_the_log(github: Double, client: Client, clone: Path) -> None:
    github.add_workflow("ci", {"ci": "sh check.sh"})
    red = push(clone, "feature", {"app.py": "raise SystemExit('it does not work')\n"})
    number = client.open("feature")
    github.settle()
    (check,) = client("GET", f"{REPO}/commits/{red}/check-runs").body["check_runs"]
    assert (check["name"], check["conclusion"], check["id"] > 2**31) == ("ci", "failure", True)
    (run,) = client("GET", f"{REPO}/actions/runs?head_sha={red}").body["workflow_runs"]
    (job,) = client("GET", f"{REPO}/actions/runs/{run['id']}/jobs").body["jobs"]
    assert job["id"] == check["id"]
    link = client("GET", f"{REPO}/actions/jobs/{job['id']}/logs")
    assert link.status == 302
    assert urlsplit(link.headers["location"]).netloc != urlsplit(github.api).netloc
    log = client.at("GET", link.headers["location"], None, {}).text.decode()
    assert re.search(r"Z it does not work\n", log)
    assert "##[error]Process completed with exit code 1." in log
    green = push(clone, "feature", {"app.py": "print('it works')\n"})
    github.settle()
    assert github.pull(number).head_sha == green
    (check,) = client("GET", f"{REPO}/commits/{green}/check-runs").body["check_runs"]
    assert check["conclusion"] == "success"


def test_ci_tests_the_merge_with_the_base_and_does_not_start_on_a_conflict(github: Double, client: Client) -> None:
    github.add_workflow("ci", {"ci": "test -e base.py"})
    github.push_by_person("feature", {"app.py": "print('ours')\n"}, "octo")
    github.push_by_person("main", {"base.py": "1\n"}, "ada")
    client.open("feature")
    github.settle()
    assert [r.conclusion for r in github.runs()] == ["success"]
    github.push_by_person("main", {"app.py": "print('theirs')\n"}, "ada")
    github.push_by_person("feature", {"more.py": "1\n"}, "octo")
    github.settle()
    assert len(github.runs()) == 1


def test_a_log_fetched_with_the_token_is_refused_and_fails_the_test(
    github: Double, client: Client, number: int
) -> None:
    github.add_workflow("ci", {"ci": "true"})
    github.push_by_person("feature", {"new.py": "1\n"}, "octo")
    github.settle()
    job = github.runs()[0].jobs[0]
    link = client("GET", f"{REPO}/actions/jobs/{job.id}/logs").headers["location"]
    assert client.at("GET", link, None, {"authorization": f"Bearer {client.token}"}).status == 401
    assert number
    assert "a log was fetched with the token" in github.state.violations.pop()


def test_a_job_can_be_held_fail_once_or_never_report(github: Double, client: Client, number: int) -> None:
    github.add_workflow("ci", {"ci": "true"})
    github.add_workflow("silent", {"silent": "true"})
    github.hold("ci")
    github.ci.silence("silent")
    github.ci.ends("ci", "cancelled")
    github.push_by_person("feature", {"new.py": "1\n"}, "octo")
    github.settle()
    sha = github.pull(number).head_sha

    def checks() -> list[tuple[str, str, str | None]]:
        told = client("GET", f"{REPO}/commits/{sha}/check-runs").body["check_runs"]
        return [(c["name"], c["status"], c["conclusion"]) for c in told]

    assert checks() == [("ci", "in_progress", None)]
    (run,) = github.runs()
    early = client("POST", f"{REPO}/actions/runs/{run.id}/rerun-failed-jobs")
    assert early.status == 403
    github.release("ci")
    github.settle()
    assert checks() == [("ci", "completed", "cancelled")]
    assert client("POST", f"{REPO}/actions/runs/{run.id}/rerun-failed-jobs").status == 201
    github.settle()
    assert checks() == [("ci", "completed", "success")]
    assert (run.attempt, run.conclusion, [j.attempt for j in run.jobs]) == (2, "success", [1, 2])


def test_a_workflow_that_fails_to_start_has_a_run_and_no_check(github: Double, client: Client, number: int) -> None:
    github.add_workflow("ci", {"ci": "true"})
    github.ci.ends("ci", "startup_failure")
    github.push_by_person("feature", {"new.py": "1\n"}, "octo")
    sha = github.pull(number).head_sha
    assert client("GET", f"{REPO}/commits/{sha}/check-runs").body["total_count"] == 0
    (run,) = client("GET", f"{REPO}/actions/runs?head_sha={sha}").body["workflow_runs"]
    assert (run["status"], run["conclusion"]) == ("completed", "startup_failure")


def test_a_lost_runner_says_so_and_leaves_no_log(github: Double, client: Client, number: int) -> None:
    github.add_workflow("ci", {"ci": "true"})
    github.ci.lose_runner("ci")
    github.push_by_person("feature", {"new.py": "1\n"}, "octo")
    (check,) = client("GET", f"{REPO}/commits/{github.pull(number).head_sha}/check-runs").body["check_runs"]
    assert check["conclusion"] == "failure"
    assert client("GET", f"{REPO}/actions/jobs/{check['id']}/logs").status == 404
    (told,) = client("GET", f"{REPO}/check-runs/{check['id']}/annotations").body
    assert "lost communication with the server" in told["message"]


def test_what_a_workflows_own_token_does_starts_no_workflow(github: Double, client: Client) -> None:
    github.add_workflow("ci", {"ci": "true"})
    github.repository().permissions["github-actions"] = "write"
    everything = {"contents": "write", "pull_requests": "write"}
    ours = Client(github, github.token("github-actions[bot]", "actions", permissions=everything))
    github.push_by_person("feature", {"new.py": "1\n"}, "octo")
    ours.open("feature")
    assert github.runs() == []
    assert ours("GET", "/user").status == 403
    github.push_by_person("other", {"new.py": "2\n"}, "octo")
    client.open("other")
    assert len(github.runs()) == 1


def test_workflows_with_paths_report_nothing_on_other_changes(github: Double, client: Client) -> None:
    github.add_workflow("docs", {"docs": "true"}, paths=("docs/",))
    for name in ("src", "docs"):
        github.push_by_person(name, {f"{name}/a.txt": "1\n"}, "octo")
        client.open(name)
    github.settle()
    assert [(r.branch, r.conclusion) for r in github.runs()] == [("docs", "success")]


def test_workflows_can_run_on_pushes_too(github: Double, client: Client) -> None:
    github.add_workflow("ci", {"ci": "test -e new.py"}, on=("push",))
    sha = github.push_by_person("feature", {"new.py": "1\n"}, "octo")
    github.settle()
    (check,) = client("GET", f"{REPO}/commits/{sha}/check-runs").body["check_runs"]
    assert check["conclusion"] == "success"


def test_git_refuses_pushes_to_a_protected_branch_and_to_pull_request_refs(
    github: Double, client: Client, number: int, clone: Path
) -> None:
    github.protect(enforced(approvals=1))
    git("commit", "--allow-empty", "-qm", "Straight in", cwd=clone)
    refused = git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert "GH006: Protected branch update failed for refs/heads/main." in refused.stderr
    assert "Changes must be made through a pull request." in refused.stderr
    assert git("push", "origin", f"HEAD:refs/pull/{number}/head", cwd=clone, check=False).returncode
    git("fetch", "-q", "origin", f"refs/pull/{number}/head", cwd=clone)
    assert git("rev-parse", "FETCH_HEAD", cwd=clone).stdout.strip() == github.pull(number).head_sha
    assert client.mergeable(number)[0] is None


# Limits, pages, permissions


def test_a_conditional_request_that_finds_nothing_new_costs_nothing(client: Client, number: int) -> None:
    first = client("GET", f"{REPO}/issues/{number}")
    again = client("GET", f"{REPO}/issues/{number}", if_none_match=first.headers["etag"])
    assert (again.status, again.text) == (304, b"")
    assert again.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
    client("POST", f"{REPO}/issues/{number}/comments", {"body": "News"})
    assert client("GET", f"{REPO}/issues/{number}", if_none_match=first.headers["etag"]).status == 200


def test_an_exhausted_quota_refuses_until_its_hour_is_over(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    with Double(tmp_path / "github", clock=lambda: now[0]) as github:
        github.create_repository("acme/widgets", people={"octo": "write"})
        client = Client(github, github.token("octo"))
        github.state.quota("octo", "core").used = 4999
        assert client("GET", REPO).headers["x-ratelimit-remaining"] == "0"
        refused = client("GET", REPO)
        assert (refused.status, refused.headers["x-ratelimit-remaining"]) == (403, "0")
        assert refused.message.startswith("API rate limit exceeded")
        assert client("GET", "/rate_limit").body["resources"]["core"]["remaining"] == 0
        now[0] = float(refused.headers["x-ratelimit-reset"])
        assert client("GET", REPO).status == 200


def test_every_list_comes_in_pages_of_a_hundred_at_most(github: Double, client: Client, number: int) -> None:
    for n in range(101):
        github.comment(number, f"Comment {n}")
    first = client("GET", f"{REPO}/issues/{number}/comments?per_page=1000")
    assert len(first.body) == 100
    assert 'page=2>; rel="next"' in first.headers["link"]
    second = client("GET", f"{REPO}/issues/{number}/comments?per_page=1000&page=2")
    assert [c["body"] for c in second.body] == ["Comment 100"]
    assert 'rel="next"' not in second.headers["link"]
    assert len(client("GET", f"{REPO}/issues/{number}/comments").body) == 30


LISTS = {
    "/branches": "",
    "/issues": "",
    "/issues/1/comments": "",
    "/pulls": "",
    "/pulls/1/comments": "",
    "/pulls/1/commits": "",
    "/pulls/1/files": "",
    "/pulls/1/reviews": "",
    "/commits/feature/check-runs": "check_runs",
    "/commits/feature/status": "statuses",
    "/commits/feature/statuses": "",
    "/actions/runs": "workflow_runs",
    "/actions/runs/{run}/jobs": "jobs",
    "/compare/main...feature": "commits",
    "/rules/branches/main": "",
}


@pytest.fixture
def busy(github: Double, client: Client) -> Double:
    """Two of everything."""
    github.add_workflow("ci", {"ci": "true", "lint": "true"})
    github.add_ruleset(Protection(contexts=("ci",), signatures=True))
    for name in ("feature", "other"):
        github.push_by_person(name, {f"{name}.py": "1\n"}, "octo")
        github.push_by_person(name, {f"{name}.txt": "1\n"}, "octo")
        number = client.open(name)
        github.comment(number, "Hello")
        github.remark(1, "Hm", "ada", "feature.py", 1)
        sha = github.pull(number).head_sha
        told = {"state": "success", "context": name, "description": "Fine", "target_url": "https://ci.example.org"}
        assert client("POST", f"{REPO}/statuses/{github.pull(1).head_sha}", told).status == 201
        assert client("POST", f"{REPO}/check-runs", {"name": "x", "head_sha": sha}).status == 403  # apps' own
    github.comment(1, "Again")
    github.settle()
    return github


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_read_whole_by_following_its_links(busy: Double, client: Client, path: str) -> None:
    start = f"{REPO}{path.format(run=busy.runs()[0].id)}"

    def entries(answer: Told) -> list[Any]:
        return list(answer.body[LISTS[path]] if LISTS[path] else answer.body)

    whole = entries(client("GET", start))
    assert len(whole) > 1
    url, found = f"{busy.api}{start}?per_page=1", []
    while url:
        answer = client.at("GET", url, None, {"authorization": f"Bearer {client.token}"})
        found += entries(answer)
        following = re.search(r'<([^>]+)>; rel="next"', answer.headers.get("link", ""))
        url = following[1] if following else ""
    assert found == whole


def test_a_token_without_the_permission_is_told_which_one(github: Double, client: Client, number: int) -> None:
    narrow = Client(github, github.token("octo", "fine-grained", permissions={"contents": "write"}))
    refused = narrow("POST", f"{REPO}/issues/{number}/comments", {"body": "Hello"})
    assert (refused.status, refused.message) == (403, "Resource not accessible by personal access token")
    assert refused.headers["x-accepted-github-permissions"] == "issues=write"
    assert narrow("GET", f"{REPO}/commits/main/check-runs").status == 403
    assert "x-oauth-scopes" not in refused.headers
    assert client("GET", "/user").headers["x-oauth-scopes"] == "repo"


def test_a_private_repository_does_not_exist_for_strangers(github: Double) -> None:
    github.create_repository("acme/secret", visibility="private", people={"ada": "read"})
    stranger, reader = (Client(github, github.token(login)) for login in ("eve", "ada"))
    assert stranger("GET", "/repos/acme/secret").status == 404
    assert reader("GET", "/repos/acme/secret").body["permissions"]["push"] is False
    assert reader("GET", "/repos/acme/secret/collaborators/ada/permission").status == 403
    assert Client(github, "ghp_unknown")("GET", "/user").message == "Bad credentials"
    assert github._may(reader.token, "acme", "secret", write=True) == 403
    assert github._may(stranger.token, "acme", "secret", write=False) == 404


def test_graphql_stands_beside_rest_and_is_counted_apart(github: Double, client: Client) -> None:
    assert client.graphql("query who { viewer { login } }") == {"data": {"viewer": {"login": "octo"}}}
    (asked,) = github.asked("graphql who")
    assert (asked.fields, asked.resource, asked.cost, asked.write) == (("viewer",), "graphql", 1, False)
    assert (github.spent("core"), github.spent("graphql")) == (0, 1)


def test_an_archived_repository_is_read_and_not_written(github: Double, client: Client, number: int) -> None:
    github.repository().archived = True
    assert client("GET", f"{REPO}/pulls/{number}").status == 200
    refused = client("POST", f"{REPO}/issues/{number}/comments", {"body": "Hello"})
    assert (refused.status, refused.message) == (403, "Repository was archived so is read-only.")
    assert github._may(client.token, "acme", "widgets", write=True) == 403


def test_protection_is_told_to_administrators_and_rules_to_all(github: Double, client: Client) -> None:
    github.protect(enforced(contexts=("ci",), strict=True, approvals=2, conversation_resolution=True))
    github.add_ruleset(Protection(contexts=("lint",), signatures=True))
    told = client("GET", f"{REPO}/branches/main/protection").body
    assert told["required_status_checks"]["contexts"] == ["ci"]
    assert told["required_pull_request_reviews"]["required_approving_review_count"] == 2
    ada = Client(github, github.token("ada"))
    assert ada("GET", f"{REPO}/branches/main/protection").status == 404
    kinds = [rule["type"] for rule in ada("GET", f"{REPO}/rules/branches/main").body]
    assert kinds == ["required_status_checks", "required_signatures"]
    narrow = Client(github, github.token("octo", "fine-grained", permissions={"contents": "write"}))
    assert narrow("GET", f"{REPO}/branches/main/protection").status == 403


def test_who_may_write_is_told_to_those_who_may(github: Double, client: Client) -> None:
    github.state.account("coderabbitai[bot]")
    levels = {
        name: client("GET", f"{REPO}/collaborators/{name}/permission").body.get("permission")
        for name in ("octo", "ada", "bob", "nobody", "coderabbitai[bot]")
    }
    assert levels == {"octo": "admin", "ada": "write", "bob": "read", "nobody": None, "coderabbitai[bot]": None}


def test_a_renamed_repository_is_found_by_its_old_name(github: Double, client: Client, clone: Path) -> None:
    sha = push(clone, "feature", {"new.py": "1\n"})
    number = client.open("feature")
    github.rename("acme/gadgets")
    moved = client("GET", f"{REPO}/pulls?state=all")
    assert moved.status == 301
    there = client.at("GET", moved.headers["location"], None, {"authorization": f"Bearer {client.token}"})
    assert [p["number"] for p in there.body] == [number]
    assert client("GET", f"/repos/acme/gadgets/pulls/{number}").body["head"]["sha"] == sha
    assert client("POST", f"{REPO}/issues/{number}/comments", {"body": "Hi"}).status == 307
    told = client.graphql('{ repository(owner: "acme", name: "widgets") { nameWithOwner } }')
    assert told == {"data": {"repository": {"nameWithOwner": "acme/gadgets"}}}
    assert push(clone, "feature", {"new.py": "2\n"}) == github.pull(number).head_sha
    git("fetch", "-q", github.url(), "feature", cwd=clone)


# What goes wrong


def test_a_lost_answer_has_its_effect_and_a_lost_request_has_none(
    github: Double, client: Client, number: int
) -> None:
    what = f"POST */issues/{number}/comments"
    github.faults.lose_request(what)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        client("POST", f"{REPO}/issues/{number}/comments", {"body": "First"})
    assert github.comments(number) == []
    github.faults.lose_answer(what)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        client("POST", f"{REPO}/issues/{number}/comments", {"body": "Second"})
    assert [c.body for c in github.comments(number)] == ["Second"]
    assert client("POST", f"{REPO}/issues/{number}/comments", {"body": "Third"}).status == 201
    assert [r.status for r in github.asked(what)] == [0, 0, 201]


def test_servers_fail_and_limits_are_met_without_any_effect(github: Double, client: Client, number: int) -> None:
    what = f"PUT */pulls/{number}/merge"
    github.faults.fail(what, 502)
    github.faults.throttle(what, retry_after=30)
    github.faults.throttle(what, status=429)
    broken, limited, again = (client.merge(number) for _ in range(3))
    assert (broken.status, broken.headers["content-type"]) == (502, "text/html")
    assert (limited.status, limited.headers["retry-after"]) == (403, "30")
    assert (again.status, "retry-after" in again.headers) == (429, False)
    assert not github.pull(number).merged
    assert client.merge(number).status == 200


def test_a_truncated_answer_breaks_in_its_middle(github: Double, client: Client) -> None:
    github.faults.truncate(f"GET {REPO}")
    with pytest.raises(http.client.IncompleteRead):
        client("GET", REPO)
    assert client("GET", REPO).status == 200


def test_a_reader_who_is_behind_sees_what_stood_before_the_write(github: Double, client: Client) -> None:
    github.faults.stale("GET */pulls", reads=2)
    github.push_by_person("feature", {"new.py": "1\n"}, "octo")
    assert client("GET", f"{REPO}/pulls").body == []
    number = client.open("feature")
    assert client("GET", f"{REPO}/pulls/{number}").status == 200
    lists = [[p["number"] for p in client("GET", f"{REPO}/pulls?state=all").body] for _ in range(3)]
    assert lists == [[], [], [number]]


@pytest.mark.parametrize("name", ["git push", "git refs"])
def test_git_can_fail_too(github: Double, client: Client, clone: Path, name: str) -> None:
    github.faults.fail(name, 503)
    git("commit", "--allow-empty", "-qm", "Try", cwd=clone)
    assert git("push", "-q", "origin", "HEAD:feature", cwd=clone, check=False).returncode
    assert github.tip("feature") == ""
    git("push", "-q", "origin", "HEAD:feature", cwd=clone)
    assert client("GET", f"{REPO}/git/ref/heads/feature").body["object"]["sha"] == github.tip("feature")


def test_a_lost_push_has_happened_or_has_not(github: Double, clone: Path) -> None:
    git("commit", "--allow-empty", "-qm", "Try", cwd=clone)
    github.faults.lose_request("git push")
    assert git("push", "-q", "origin", "HEAD:feature", cwd=clone, check=False).returncode
    assert github.tip("feature") == ""
    github.faults.lose_answer("git push")
    assert git("push", "-q", "origin", "HEAD:feature", cwd=clone, check=False).returncode
    assert github.tip("feature") == git("rev-parse", "HEAD", cwd=clone).stdout.strip()


# Held to GitHub's own description


@pytest.mark.parametrize(
    ("verb", "path", "body", "wrong"),
    [
        ("GET", f"{REPO}/pulls?sate=open", None, "the query has 'sate', which is not documented"),
        ("GET", f"{REPO}/pulls?state=merged", None, "state='merged' is none of ['open', 'closed', 'all']"),
        ("POST", f"{REPO}/pulls", {"title": "T", "head": "feature"}, "'base' is a required property"),
        ("POST", f"{REPO}/issues/1/comments", {"body": "Hi", "quiet": True}, "'quiet' was unexpected"),
        ("POST", f"{REPO}/issues/1/comments", {"body": 1}, "1 is not of type 'string'"),
        ("GET", f"{REPO}/pull/1", None, "GitHub has no such route"),
        ("DELETE", f"{REPO}/pulls/1", None, "GitHub has no such route"),
    ],
)
@pytest.mark.usefixtures("number")
def test_a_request_that_github_does_not_know_fails_the_test(
    github: Double, client: Client, verb: str, path: str, body: Any, wrong: str
) -> None:
    assert client(verb, path, body).status >= 404
    with pytest.raises(AssertionError, match=re.escape(wrong)):
        github.assert_lawful()
    github.state.violations.clear()


def test_an_answer_with_an_invented_field_fails_the_test(github: Double, client: Client, number: int) -> None:
    github.pull(number).state = "merged"  # type: ignore[assignment]
    answer = client("GET", f"{REPO}/pulls/{number}")
    assert answer.status == 500
    assert "state: 'merged' is not one of ['open', 'closed']" in github.state.violations[0]
    github.state.violations.clear()


def test_leaving_the_double_raises_what_was_not_githubs(tmp_path: Path) -> None:
    def misuse() -> None:
        with Double(tmp_path / "github") as github:
            github.create_repository("acme/widgets")
            Client(github, github.token("octo"))("GET", "/repositories/acme/widgets")

    with pytest.raises(AssertionError, match="GitHub has no such route"):
        misuse()
