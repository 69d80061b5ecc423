"""GitHub's answers about a repository, without a network: for what decides by them before a run begins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from claudetm.adapters.forge.github.access import Token
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.refusals import GithubRefused, NotFound

TIP = "a" * 40
TOKEN = Token("ghp_never-to-be-shown", "GH_TOKEN")
PLACE = Hosted(
    "https://api.github.com",
    "acme",
    "widgets",
    "https://github.com/acme/widgets.git",
    "https://github.com/acme/widgets.git",
    "acme",
)
FORK = replace(PLACE, push="https://github.com/ada/gadgets.git", head_owner="ada")
ON_PULLS = "on: pull_request\njobs: {}\n"


@dataclass
class GitHub:
    """Answers as GitHub does. `repository`, `head` and `rules` are laid over a repository where all is well."""

    repository: dict[str, Any] | None = field(default_factory=dict)
    head: dict[str, Any] | None = field(default_factory=dict)
    rule: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by branch, of rulesets
    rulesets: bool = True
    errors: list[Any] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=lambda: {"ci.yml": ON_PULLS})
    rollup: str = "SUCCESS"
    rest: dict[str, Any] = field(default_factory=dict)
    classic: frozenset[str] | None = frozenset({"repo", "workflow"})
    asked: list[str] = field(default_factory=list)

    def graphql(self, _query: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        self.asked.append(variables["ref"])
        found = None if self.repository is None else {**self._repository(), **self.repository}
        head = {"nameWithOwner": f"{variables['headOwner']}/{variables['headName']}", "viewerPermission": "WRITE"}
        told = {"viewer": {"login": "ada"}, "repository": found}
        return {**told, "head": None if self.head is None else {**head, **self.head}}, self.errors

    def _repository(self) -> dict[str, Any]:
        blobs = [{"name": name, "object": {"text": text}} for name, text in self.files.items()]
        return {
            "nameWithOwner": "acme/widgets",
            "viewerPermission": "WRITE",
            "mergeCommitAllowed": True,
            "squashMergeAllowed": True,
            "rebaseMergeAllowed": True,
            "defaultBranchRef": {"name": "main"},
            "ref": {
                "target": {"oid": TIP, "statusCheckRollup": {"state": self.rollup} if self.rollup else None},
                "refUpdateRule": self.rule or None,
            },
            "object": {"entries": blobs} if blobs else None,
        }

    def get(self, path: str, **_params: Any) -> Any:
        if path not in self.rest:
            raise NotFound(f"no {path}", 404, "Not Found")
        return self.rest[path]

    def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:  # noqa: ARG002 - the port has it
        if "/rules/branches/" not in path:
            return list(self.get(path, **params))
        if not self.rulesets:
            raise GithubRefused("no rulesets", 403, "Upgrade to GitHub Pro")
        return self.rules.get(path.rpartition("/")[2].replace("%2F", "/"), [])

    def scopes(self) -> frozenset[str] | None:
        return self.classic
