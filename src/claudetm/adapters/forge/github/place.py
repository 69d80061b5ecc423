"""Where a run's pull requests live on GitHub: read once from the remotes, journalled, never derived again."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Final
from urllib.parse import unquote, urlsplit

from claudetm.errors import RepositoryError, UsageError

GITHUB: Final = "github.com"
_ALIASES: Final = ("www.github.com", "ssh.github.com")
_TENANT: Final = ".ghe.com"
_SEGMENT: Final = re.compile(r"[\w.-]+", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9_][a-z0-9._-]*|[0-9a-f]*:[0-9a-f:.]+", re.ASCII)
_SCP: Final = re.compile(r"(?:[^@/:\s]+@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@/:\s]+):(?P<path>[^\s]+)")
_OTHERS: Final = re.compile(
    r"(?:^|[.-])(?:gitlab|bitbucket|gitea|forgejo|codeberg|visualstudio|git-codecommit)(?:$|[.-])"
    r"|(?:^|\.)(?:dev\.azure\.com|git\.sr\.ht|sourceforge\.net|savannah\.gnu\.org|launchpad\.net)$"
)
_DEFAULT_PORTS: Final = {"https": 443, "http": 80, "ssh": 22, "git": 9418}


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


@dataclass(frozen=True, slots=True)
class Address:
    """A repository's address as git knows it, without the user and the password that may stand in it."""

    scheme: str  # https, http, ssh or git
    host: str  # in lower case; github.com for its other names
    port: int | None  # None for the scheme's own
    owner: str
    name: str
    prefix: str = ""  # what stands before the owner, on some servers: "git/" of https://HOST/git/owner/name

    @property
    def repository(self) -> str:
        """The repository's full name."""
        return f"{self.owner}/{self.name}"

    @property
    def web(self) -> str:
        """Git's address of it over https; over http where it is not encrypted for being on this machine."""
        scheme = "http" if self.scheme == "http" and is_loopback(self.host) else "https"
        port = f":{self.port}" if self.port and self.scheme in {"https", "http"} else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}{port}/{self.prefix}{self.owner}/{self.name}.git"

    def same(self, other: Address) -> bool:
        """Tell whether both name one repository; GitHub does not tell cases apart."""
        return self.host == other.host and self.repository.casefold() == other.repository.casefold()


def address(url: str) -> Address | None:
    """Return what a remote's address says, None for a path, for what is no repository and for other schemes."""
    url = url.strip()
    if "://" not in url:
        found = _SCP.fullmatch(url)
        return found and _address("ssh", found["host"].strip("[]"), None, found["path"])
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower().removeprefix("git+")
        return _address(scheme, parts.hostname or "", parts.port, parts.path) if scheme in _DEFAULT_PORTS else None
    except ValueError:  # a port that is none, a bracket that is not closed
        return None


def _address(scheme: str, host: str, port: int | None, path: str) -> Address | None:
    host = host.lower().rstrip(".")
    *before, owner, name = ("", "", *filter(None, unquote(path).split("/")))
    before = [s for s in before if s]
    name = name.removesuffix(".git")
    if not _HOST.fullmatch(host) or not all(_SEGMENT.fullmatch(s) for s in (*before, owner, name)):
        return None
    if name in {".", ".."} or (before and is_known(host)):
        return None
    if host in _ALIASES:
        host, port = GITHUB, None
    port = None if port == _DEFAULT_PORTS[scheme] else port
    return Address(scheme, host, port, owner, name, "".join(f"{s}/" for s in before))


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_known(host: str) -> bool:
    """Tell whether a host is GitHub's own, by its name alone."""
    return host == GITHUB or host in _ALIASES or host.endswith(_TENANT)


def is_another(host: str) -> bool:
    """Tell whether a host is, by its name, a forge of another kind."""
    return bool(_OTHERS.search(host))


def api_of(host: str, scheme: str = "https", port: int | None = None) -> str:
    """Return the REST API's address for the repositories of a host."""
    if host == GITHUB or host in _ALIASES:
        return "https://api.github.com"
    if host.endswith(_TENANT):
        return f"https://api.{host}"
    scheme = "http" if scheme == "http" and is_loopback(host) else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}/api/v3"


def git_host(api: str) -> str:
    """Return the host whose repositories an API is for."""
    host = (urlsplit(api).hostname or "").lower()
    return host.removeprefix("api.") if host == "api.github.com" or host.endswith(_TENANT) else host


def is_github(host: str, api_url: str) -> bool:
    """Tell whether a host is GitHub: by its name, or as the host of the API that is configured."""
    return is_known(host) or (bool(api_url) and host == git_host(api_url))


def hosted(
    remotes: Mapping[str, str],
    push_urls: Mapping[str, str],
    api_url: str,
    environment: Mapping[str, str],
    resolve: Callable[[str], str] = str,
    *,
    any_host: bool = False,
) -> Hosted | None:
    """Return where pull requests are opened and pushed to, None where no remote that counts is on GitHub.

    `remotes` and `push_urls` are git's addresses by the remotes' names (a push address only where it differs),
    `api_url` what is configured. `resolve` returns the host that an alias of ssh's configuration stands for. With
    `any_host` every host is taken for GitHub's, as somebody who asks for GitHub says, but for one whose name is
    another forge's. origin is pushed to; the pull requests are upstream's where there is such a remote on the same
    host, else origin's. Raises RepositoryError where it is not clear which is meant.
    """
    apis = [api_url, environment.get("GITHUB_API_URL", ""), environment.get("GITHUB_SERVER_URL", "")]
    apis = [a.rstrip("/") for a in apis if a] + [api_of(h.lower()) for h in [environment.get("GH_HOST", "")] if h]

    def on_github(url: str) -> Address | None:
        place = _resolved(url, apis, resolve)
        if place and (any(is_github(place.host, api) for api in ["", *apis])):
            return place
        return place if place and any_host and not is_another(place.host) else None

    found = {name: a for name, url in remotes.items() if (a := on_github(url))}
    origin = _origin(remotes, found)
    if not origin:
        return None
    to = push_urls.get(origin, "") or remotes[origin]
    pushed = on_github(to)
    if pushed is None or pushed.host != found[origin].host:
        raise RepositoryError(
            f"{origin} is fetched from {found[origin].host} and pushed to somewhere else, where no pull request "
            f"can come from: git remote set-url --push {origin} {found[origin].web}"
        )
    upstream = found.get("upstream", found[origin])
    base = "upstream" if upstream.host == pushed.host and "upstream" in found else origin
    if pushed.owner.casefold() == found[base].owner.casefold() and not pushed.same(found[base]):
        raise RepositoryError(
            f"{pushed.repository} and {found[base].repository} belong to the same owner, so a branch of one cannot "
            "be told from the other's: push to a fork of another account, or to the repository itself"
        )
    return Hosted(
        api=_api(found[base], apis),
        owner=found[base].owner,
        name=found[base].name,
        url=_clean(remotes[base], found[base]),
        push=_clean(to, pushed),
        head_owner=pushed.owner,
    )


def _origin(remotes: Mapping[str, str], found: Mapping[str, Address]) -> str:
    """Return the remote that is pushed to; "" where that is not on GitHub."""
    if "origin" in remotes:
        return "origin" if "origin" in found else ""
    if "upstream" in found:
        return "upstream"
    if len(found) > 1:
        raise RepositoryError(
            f"The remotes {', '.join(sorted(found))} are all on GitHub, and none is named origin: git remote rename "
            f"{min(found)} origin, say, or --forge local"
        )
    return next(iter(found), "")


def _resolved(url: str, apis: list[str], resolve: Callable[[str], str]) -> Address | None:
    """Return a remote's address, of the host that ssh's configuration names where that is not known for GitHub's."""
    place = address(url)
    if place is None:
        return None
    if place.scheme == "ssh" and not any(is_github(place.host, api) for api in ["", *apis]):
        place = replace(place, host=resolve(place.host).lower().rstrip("."))
        place = replace(place, host=GITHUB, port=None) if place.host in _ALIASES else place
    return place


def _api(place: Address, apis: list[str]) -> str:
    """Return the API of an address: the one that is configured for its host, else the one the host has."""
    known = next((api for api in apis if git_host(api) == place.host and "/api/" in f"{api}/"), "")
    if known or is_known(place.host):
        return known or api_of(place.host)
    return api_of(place.host, place.scheme, place.port if place.scheme in {"https", "http"} else None)


def _clean(url: str, place: Address) -> str:
    """Return git's address to go by: an ssh one as it is but for a password, others over https."""
    if place.scheme != "ssh":
        return place.web
    return re.sub(r"^(\w[\w+]*://[^/:@]*):[^/@]*@", r"\1@", url.strip())


def parse_pull(text: str, hosted: Hosted) -> int:
    """Return the number of a pull request of this repository: of 12, #12, owner/name#12 or its address."""
    return _parse(text, hosted, "pull", "pull request")


def parse_issue(text: str, hosted: Hosted) -> int:
    """Return the number of an issue of this repository: of 12, #12, owner/name#12 or its address."""
    return _parse(text, hosted, "issues", "issue")


def _web(hosted: Hosted) -> str:
    """Return the address that a browser finds the repository at."""
    api, host = urlsplit(hosted.api), git_host(hosted.api)
    server = f"https://{host}" if is_known(host) else f"{api.scheme}://{api.netloc}"
    return f"{server}/{hosted.repository}"


def _parse(text: str, hosted: Hosted, kind: str, called: str) -> int:
    text = text.strip()
    host = git_host(hosted.api)
    found = re.fullmatch(r"(?:(?P<repository>[\w.-]+/[\w.-]+)?#)?(?P<number>[0-9]{1,10})", text) or re.fullmatch(
        rf"(?:https?://)?(?:www\.)?(?P<host>[\w.:-]+)/(?:[\w.-]+/)*?(?P<repository>[\w.-]+/[\w.-]+)/{kind}/"
        r"(?P<number>[0-9]{1,10})(?:[/?#].*)?",
        text,
    )
    if not found or not int(found["number"]):
        raise UsageError(f"{text} is no {called} of GitHub: write its number, or {_web(hosted)}/{kind}/12")
    there = found.groupdict().get("host", "").lower()
    repository = found["repository"] or hosted.repository
    if repository.casefold() != hosted.repository.casefold() or (there and there.partition(":")[0] != host):
        where = f"{there}/{repository}" if there and there.partition(":")[0] != host else repository
        raise UsageError(
            f"{text} is of {where}, and the pull requests of this repository are in {hosted.repository}: run this in "
            f"a clone of {where}"
        )
    return int(found["number"])
