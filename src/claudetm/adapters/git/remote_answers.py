"""What git and a host say when a fetch or a push fails, and what that means: wait, mend something, or be refused.

Pure. Only the lines of git and ssh decide: what a host adds ("remote: …") is quoted, never believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from claudetm.adapters.git.git import GitFailed, last_line
from claudetm.errors import ForgeBusy, RepositoryError
from claudetm.redact import printable, redact

SECONDS_BUSY: Final = 60.0
MOST_WORDS: Final = 400  # characters of what a host says

_OUT_OF_REACH: Final = re.compile(
    r"""(?xi)
    could\ not\ resolve | temporary\ failure\ in\ name | failed\ to\ connect | couldn't\ connect | connection\ refused
    | timed\ out | network\ is\ unreachable | no\ route\ to\ host | connection\ (?:was\ )?(?:reset|closed|aborted)
    | empty\ reply | early\ eof | hung\ up\ unexpectedly | unexpected\ disconnect | transfer\ closed | broken\ pipe
    | operation\ too\ slow | rpc\ failed | error:\ (?:429|5\d\d)\b | http\ code\ 5\d\d\ from\ proxy | kex_exchange
    | banner\ exchange | ssl_error_syscall | ssl_read | gnutls_handshake | tls\ (?:connection|packet) | recv\ failure
    | send\ failure | died\ of\ signal | bad\ line\ length | expected\ flush | ^error:\ .*internal\ server\ error
    """
)
_UNKNOWN_TOKEN: Final = re.compile(r"(?i)authentication failed|could not read (?:username|password)|error: 401\b")
_NO_SUCH: Final = re.compile(r"(?i)repository not found|repository '.*' not found|error: 404\b")
_NO_RIGHT: Final = re.compile(
    r"(?i)error: 403\b|^error: permission to \S+ denied|write access to repository not granted"
)
_TOO_OFTEN: Final = re.compile(r"(?i)rate limit|too many requests|temporarily|abuse")
_NO_KEY: Final = re.compile(r"(?i)permission denied \(|too many authentication failures|no such identity")
_UNKNOWN_HOST: Final = re.compile(r"(?i)host key verification failed")
_NO_TRUST: Final = re.compile(
    r"(?i)certificate (?:problem|verif)|certificate is not trusted|server verification failed"
)
_BROKEN: Final = re.compile(r"(?i)fsck error|index-pack failed: .*(?:missing|corrupt)")
_ABSENT: Final = re.compile(r"(?i)couldn't find remote ref|not our ref|no such remote ref|unadvertised object")
_EMPTY: Final = re.compile(
    r"could not read from remote|^please make sure you|^and the repository exists|hung up", re.IGNORECASE
)
_PASSING: Final = re.compile(
    r"(?i)internal server error|(?:cannot|failed to) lock|failed to update ref|time(?:d )?[ -]?out|try again"
    r"|temporar|failed to report status|unpacker error|stale info|fetch first|non-fast-forward|already exists"
)
_REJECTED: Final = re.compile(r"^!\t[^\t]*\t\[(?:remote )?(?:rejected|failure)\] \((?P<why>.*)\)$", re.MULTILINE)
_REMEDIES: Final = (
    (r"workflows?` (?:scope|permission)", "`gh auth refresh -s workflow`, or a token that may write workflows"),
    (r"(?i)push protection|contain secrets", "take the secret out of every commit of the branch, or allow it there"),
    (r"GH001|(?i:file size limit)", "leave the file out of every commit of the branch"),
    (r"GH007", "let user.email be your no-reply address (https://github.com/settings/emails)"),
    (r"GH006|GH013|(?i:protected branch|rule violations)", "see the rules of the repository, in its settings"),
    (r"(?i)archived", "unarchive the repository"),
)


def absent(complaint: str) -> bool:
    """Whether a fetch failed only as what it asked for is not there."""
    return bool(_ABSENT.search(_own(complaint)))


def failure(verb: str, host: str, address: str, complaint: str, now: float) -> RepositoryError | ForgeBusy:
    """Return what a failed git means. `complaint` is its standard error, `now` in epoch seconds."""
    own, words = _own(complaint), said(complaint)
    if _BROKEN.search(own):
        return GitFailed(f"git {verb} failed: {last_line(complaint.encode())}")
    if _NO_KEY.search(own):
        return RepositoryError(f"{host} refused the ssh key: {words}. `ssh -T git@{host}` shows why.")
    if _UNKNOWN_HOST.search(own):
        return RepositoryError(f"ssh does not know {host} yet: run `ssh -T git@{host}` once and compare its key.")
    if _UNKNOWN_TOKEN.search(own):
        return RepositoryError(
            f"{host} refused the token for {address}: {words}. "
            f"Run `gh auth login --hostname {host}`, or set GH_TOKEN (GH_ENTERPRISE_TOKEN off github.com) anew."
        )
    if _NO_SUCH.search(own):
        return RepositoryError(
            f"{address} is not there for this account: {words}. Correct its address, or use a token that may see it."
        )
    too_often = bool(_NO_RIGHT.search(own) and _TOO_OFTEN.search(words))
    if _NO_RIGHT.search(own) and not too_often:
        return RepositoryError(
            f"{host} refused access to {address}: {words}. Use an account that may write there, or a token with "
            "contents: write."
        )
    if _NO_TRUST.search(own):
        return RepositoryError(
            f"The certificate of {host} is not trusted: {words}. Name its authority: "
            "`git config --global http.sslCAInfo FILE`."
        )
    if too_often or _OUT_OF_REACH.search(own):
        return ForgeBusy(f"{host} cannot be reached by git: {words}.", now + SECONDS_BUSY)
    last = last_line(own.encode())
    return GitFailed(f"git {verb} failed: {last}" + (f" ({words})" if words not in last else ""))


def rejection(report: str, complaint: str) -> tuple[str, bool]:
    """Return why a ref was not moved, with what helps, and whether that may pass by itself; ("", False) if none was.

    `report` is the standard output of `git push --porcelain`.
    """
    found = _REJECTED.search(report)
    if found is None:
        return "", False
    why = _plain(found["why"])
    told = "" if "without `workflow" in why else _short(_remote(complaint))
    words = f"{told} ({why})" if told else why
    remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, words)), "")
    passing = not remedy and bool(_PASSING.search(why))
    return f"the host refused it: {words}" + (f"; {remedy}" if remedy else ""), passing


def shown(url: str) -> str:
    """Return an address as it may be shown."""
    return _plain(url)[:MOST_WORDS]


def said(complaint: str) -> str:
    """Return the telling words: the host's own where it has any, else git's last line."""
    lines = [line for line in _own(complaint).splitlines() if not _EMPTY.search(line)]
    own = last_line("\n".join(lines or [_own(complaint)]).encode())
    words = _short(_remote(complaint)) or re.sub(r"^(?:fatal|error|ERROR): ", "", own)
    return _plain(words)[:MOST_WORDS].rstrip(" .") or "it did not say why"


def _own(complaint: str) -> str:
    """Return the lines that are git's or ssh's own."""
    return "\n".join(line for line in complaint.splitlines() if not line.startswith("remote:"))


def _remote(complaint: str) -> Iterable[str]:
    """Yield the host's lines that say something: no frames, no blank ones."""
    for line in complaint.splitlines():
        words = line.removeprefix("remote:").strip(" -\t—*=|")
        if line.startswith("remote:") and any(c.isalpha() for c in words):
            yield words.removeprefix("error: ").removeprefix("fatal: ")


def _short(lines: Iterable[str]) -> str:
    words = _plain(" ".join(lines))
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}…"


def _plain(words: str) -> str:
    """Return a host's words in one line that a terminal shows as they are, secrets masked."""
    return redact(" ".join(printable(words).split()))
