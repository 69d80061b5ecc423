"""Where a run's pull requests live on GitHub: read once from the remotes, journalled, never derived again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Hosted:
    """A repository on GitHub, and where branches for its pull requests are pushed: to itself, or to a fork."""

    api: str  # the REST API's address: https://api.github.com, https://HOST/api/v3, https://api.SUB.ghe.com
    owner: str  # of the repository whose pull requests these are
    name: str
    url: str  # git's address of it, which is fetched from; holds no credential
    push: str  # git's address of what is pushed to; the same where that is no fork
    head_owner: str  # the owner of what is pushed to

    @property
    def repository(self) -> str:
        """The repository's full name."""
        return f"{self.owner}/{self.name}"

    @property
    def forked(self) -> bool:
        """Whether branches are pushed to a fork."""
        return self.head_owner.casefold() != self.owner.casefold()


def hosted_to_data(hosted: Hosted) -> dict[str, str]:
    """Return it as JSON values, for the journal."""
    return asdict(hosted)


def hosted_from_data(data: Mapping[str, str]) -> Hosted:
    """Return what the journal says; what an older version did not know is ""."""
    return Hosted(**{f.name: str(data.get(f.name, "")) for f in fields(Hosted)})
