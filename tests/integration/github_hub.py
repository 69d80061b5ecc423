"""A GitHub with one repository, `acme/widgets`, and people at work in it; spoken to by GraphQL, without a server."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from github_double import graphql, moves, plumbing
from github_double.state import CheckRun, CheckSuite, CommitStatus, PullRequest, Repository, State, Thread, Token

Json = dict[str, Any]


class Hub:
    """The repository of the organisation acme: octo owns the token "octo", ada reviews, eve has no rights."""

    def __init__(self, folder: Path) -> None:
        self.time = 1_800_000_000.0
        self.state = State(folder, lambda: self.time)
        self.state.account("acme", "Organization")
        self.git = folder / "widgets.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.git)], check=True)
        self.widgets: Repository = self.state.add_repository("acme", "widgets", self.git, slow_mergeable=0)
        self.widgets.permissions.update({"octo": "write", "ada": "write"})
        for login in ("octo", "ada", "eve", "root"):
            self.state.tokens[login] = Token(login, login)
            self.state.account(login)
        self.widgets.permissions["root"] = "admin"
        self.base = self.commit("main", {"a.txt": "a\n"})

    def commit(self, branch: str, files: Mapping[str, str], message: str = "Work") -> str:
        """Put a commit of just these files on a branch; return it."""
        was = self.widgets.tip(branch) or self.widgets.tip("main")
        lines = []
        for name, text in sorted(files.items()):
            blob = plumbing.git(self.git, "hash-object", "-w", "--stdin", stdin=text.encode())
            lines.append(f"100644 blob {blob}\t{name}\n")
        tree = plumbing.git(self.git, "mktree", stdin="".join(lines).encode())
        made = plumbing.write_commit(self.git, tree, [was] if was else [], message, moves.person(self.state, "octo"))
        moves.move_branch(self.state, self.widgets, branch, made, "octo")
        return made

    def pull(self, branch: str = "work", body: str = "", **more: Any) -> PullRequest:
        """Open octo's pull request of a branch with one more file of three lines."""
        self.commit(branch, {"a.txt": "a\n", f"{branch}.txt": "one\ntwo\nthree\n"}, f"Write {branch}")
        asked = moves.Proposal(f"Write {branch}", branch, "main", body, **more)
        return moves.open_pull(self.state, self.widgets, "octo", asked)

    def remark(self, pull: PullRequest, body: str = "why?", login: str = "ada", line: int = 1) -> Thread:
        """Start a thread at a line of the pull request's file."""
        place = moves.Place(f"{pull.head_ref}.txt", line)
        return moves.remark(self.state, self.widgets, pull, login, body, place)

    def review(self, pull: PullRequest, verdict: Any, login: str = "ada", body: str = "") -> Any:
        """Submit a review."""
        return moves.review(self.state, self.widgets, pull, login, verdict, body)

    def say(self, pull: PullRequest, body: str, login: str = "ada") -> Any:
        """Speak in the pull request's conversation."""
        return moves.comment(self.state, self.widgets, pull.number, login, body)

    def check(self, sha: str, name: str, conclusion: str = "success", status: Any = "completed") -> CheckRun:
        """Report a check run."""
        number, suite = self.state.new_id(long=True), self.state.new_id()
        moment = self.state.now()
        self.widgets.suites.append(
            CheckSuite(suite, self.state.node("CS", suite), "github-actions", sha, "work", moment)
        )
        made = CheckRun(
            number,
            self.state.node("CR", number),
            suite,
            "github-actions",
            name,
            sha,
            status,
            conclusion if status == "completed" else "",
            moment,
        )
        self.widgets.checks.append(self.state.known(made))
        return made

    def status(self, sha: str, context: str, state: Any = "success") -> CommitStatus:
        """Report a commit status."""
        number = self.state.new_id()
        made = CommitStatus(
            number,
            self.state.node("SC", number),
            sha,
            context,
            state,
            "told",
            "http://ci.test/1",
            "ada",
            self.state.now(),
        )
        self.widgets.statuses.append(self.state.known(made))
        return made

    def ask(self, query: str, token: str = "octo", **variables: Any) -> Json:
        """Return the whole answer to a query."""
        payload = {"query": query, "variables": variables}
        status, answer = graphql.execute(self.state, self.state.tokens[token], payload)
        assert status == 200
        return answer

    def of_pull(self, selected: str, number: int = 1, token: str = "octo") -> Any:
        """Return what is selected of a pull request, where nothing was refused."""
        answer = self.of_repository(f"pullRequest(number: {number}) {{ {selected} }}", token)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]["repository"]["pullRequest"]

    def of_repository(self, selected: str, token: str = "octo") -> Json:
        """Return the whole answer to what is selected of the repository."""
        return self.ask(f'{{ repository(owner: "acme", name: "widgets") {{ {selected} }} }}', token)

    def do(self, mutation: str, payload: str = "clientMutationId", token: str = "octo", **given: Any) -> Json:
        """Return the whole answer to a mutation of that name, called with these fields of its input."""
        kind = f"{mutation[0].upper()}{mutation[1:]}Input!"
        return self.ask(
            f"mutation M($in: {kind}) {{ {mutation}(input: $in) {{ {payload} }} }}", token, **{"in": given}
        )

    def refusal(self, mutation: str, token: str = "octo", **given: Any) -> tuple[str, str]:
        """Return the type and the sentence with which a mutation is refused."""
        answer = self.do(mutation, token=token, **given)
        assert answer["data"] == {mutation: None}
        (error,) = answer["errors"]
        assert error["path"] == [mutation]
        return error["type"], error["message"]
