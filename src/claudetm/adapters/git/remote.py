"""Git over the network: fetches from and pushes to a host of pull requests, from the clean room alone.

Nothing of the user's configuration but their proxy, certificates and ssh command reaches it. The token crosses a pipe
to git's credential helper: it is in no command line, no environment and no address. Only https and ssh are spoken,
and http to this machine. Every method can be killed at any point and called again.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from claudetm.adapters.git import remote_answers
from claudetm.adapters.git.clean_room import SEEN, CleanRoom
from claudetm.adapters.git.git import ENVIRONMENT, GitMissing, commit_id, run
from claudetm.adapters.git.remote_answers import SECONDS_BUSY, shown
from claudetm.errors import ForgeBusy, RepositoryError

SECONDS: Final = 1800.0
STALLED: Final = 60  # seconds without a byte
USER: Final = "x-access-token"

_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE")
_SSH: Final = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT")
_SSH_COMMAND: Final = "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4"
_WAYS: Final = ("proxy", "proxyauthmethod", "proxysslcainfo", "sslcainfo", "sslcapath", "sslcert", "sslkey")
_OWN_SETTINGS: Final = frozenset(f"http.{name}" for name in _WAYS)
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_SCP: Final = re.compile(r"(?:[\w.+-]+@)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?!:).+")
_BRANCH: Final = re.compile(r"(?![-./])(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)|[./]$))[^\x00-\x20\x7f~^:?*\[\\]+")


@dataclass(frozen=True, slots=True)
class Address:
    """Where git finds a repository: the address without a credential, its protocol (https, http, ssh) and host."""

    url: str
    protocol: str
    host: str  # with the port, where one is named

    @property
    def origin(self) -> str:
        """The part of an http address that a credential is good for."""
        return f"{self.protocol}://{self.host}"


def address(url: str) -> Address:
    """Read an address. Raises RepositoryError for one that a token or a night cannot be trusted to."""
    parts = urlsplit(url) if "://" in url else None
    if parts is None:
        if not (found := _SCP.fullmatch(url)) or url.startswith("-"):
            raise RepositoryError(f"{shown(url)} cannot be pushed to: use an https or ssh address.")
        return Address(url, "ssh", found["host"])
    port = {"https": ":443", "http": ":80"}.get(parts.scheme, ":22")
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(port)
    if parts.scheme not in {"https", "http", "ssh"} or not parts.hostname or parts.hostname.startswith("-"):
        raise RepositoryError(f"{shown(url)} cannot be pushed to: use an https or ssh address.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise RepositoryError(f"{shown(url)} would send the token in the clear: use an https address.")
    if parts.scheme != "ssh":  # a user in it would be asked for that user's password
        url = urlunsplit((parts.scheme, host, parts.path, "", ""))
    return Address(url, parts.scheme, host)


class Remote:
    """The repository that pull requests are opened in, at `url`, and what is pushed to, at `push_url`.

    `token` is asked for each connection by http. `environment` is the user's own. `stalled` is how many seconds a
    connection may stand still. Everything blocks; calls may come from several threads.
    """

    def __init__(
        self,
        url: str,
        push_url: str,
        token: Callable[[], str],
        environment: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
        stalled: int = STALLED,
    ) -> None:
        self.main = address(url)
        self.pushed = self._beside(push_url or url)
        self._token = token
        self._environment = environment
        self._clock = clock
        self._stalled = stalled
        self._running: set[subprocess.Popen[bytes]] = set()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._settings: dict[str, Mapping[str, str]] = {}  # by address

    def push_to(self, url: str) -> None:
        """Push elsewhere from now on: to the fork that a pull request came from."""
        self.pushed = self._beside(url)

    def _beside(self, url: str) -> Address:
        """Read an address of what is pushed to. Raises RepositoryError for a host that the token is not for."""
        at = address(url)
        if "ssh" not in {at.protocol, self.main.protocol} and at.origin != self.main.origin:
            raise RepositoryError(f"{shown(url)} is not on {self.main.host}, whose token it would get: push there.")
        return at

    # what is there

    def tip(self, room: CleanRoom, ref: str, at: Address) -> str:
        """Return the commit of a remote's ref, brought into the clean room; "" when absent. One run of git."""
        seen = _seen(f"{at.url} {ref}")
        with self._locks[seen]:
            return room.ref(seen) if self._fetch(room, f"+{ref}:{seen}", at) else ""

    def take(self, room: CleanRoom, commit: str) -> bool:
        """Bring a commit into the clean room that no ref may stand at; False where no address has it."""
        refspec = f"+{commit_id(commit)}:{_seen(commit)}"
        return any(self._fetch(room, refspec, at) for at in dict.fromkeys((self.main, self.pushed)))

    def _fetch(self, room: CleanRoom, refspec: str, at: Address) -> bool:
        """Fetch one ref, strangers' objects checked on arrival; False when it is absent."""
        plain = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance")
        done = self._git(room, at, "-c", "fetch.fsckObjects=true", "fetch", *plain, "--", at.url, refspec)
        if not done.returncode:
            return True
        complaint = os.fsdecode(done.stderr)
        if remote_answers.absent(complaint):
            return False
        raise remote_answers.failure("fetch", at.host, at.url, complaint, self._clock())

    # what is moved

    def move(self, room: CleanRoom, ref: str, commit: str, old: str) -> str:
        """Let the ref that is pushed to stand at the commit ("": let it be gone), if it is at `old` ("": absent).

        Returns why that was refused, or "". The lease is a compare-and-swap and forces nothing: the caller has seen
        that the commit contains `old`, so what it moves from is what was looked at, and is never lost. ForgeBusy says
        that it may or may not have happened.
        """
        at, lease = self.pushed, f"--force-with-lease={ref}:{old and commit_id(old)}"
        plain = ("--porcelain", "--no-progress", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", lease)
        done = self._git(room, at, "push", *plain, "--", at.url, f"{commit and commit_id(commit)}:{ref}")
        if not done.returncode:
            return ""
        report, complaint = os.fsdecode(done.stdout), os.fsdecode(done.stderr)
        reason, passing = remote_answers.rejection(report, complaint)
        if passing:
            raise ForgeBusy(f"{at.host} did not take a push: {reason}.", self._clock() + SECONDS_BUSY)
        if reason:
            return reason
        raise remote_answers.failure("push", at.host, at.url, complaint, self._clock())

    def try_push(self, author: str) -> None:
        """Raise what pushing a new branch would raise, ForgeBusy or RepositoryError: it is tried, and nothing moves.

        It needs nothing of the run: a commit of nothing, in a repository that is thrown away, stands for the work.
        """
        with tempfile.TemporaryDirectory(prefix="claudetm-trial-") as folder:
            room = CleanRoom(Path(folder) / "trial.git", author)
            run(["git", "init", "--bare", "--quiet", "--template=", str(room.path)], room.git.environment())
            commit = room.git.text("commit-tree", "-m", "Trial", room.git.text("mktree").strip()).strip()
            refspec = f"{commit}:refs/heads/claudetm/trial"
            done = self._git(
                room, self.pushed, "push", "--dry-run", "--quiet", "--no-verify", self.pushed.url, refspec
            )
            if done.returncode:
                complaint = os.fsdecode(done.stderr)
                raise remote_answers.failure("push", self.pushed.host, self.pushed.url, complaint, self._clock())

    # how git is run

    def _git(self, room: CleanRoom, at: Address, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run git in the clean room with what the network needs. Raises ForgeBusy where it takes too long."""
        limits = ("-c", "http.lowSpeedLimit=1", "-c", f"http.lowSpeedTime={self._stalled}")
        git = room.git.having(**self._variables(at))
        with self._credential(at) as (options, inherits):
            command = git.command(*limits, *options, *arguments)
            try:
                # A session of its own has no terminal, so no ssh of the user's can ask there for a passphrase.
                child = subprocess.Popen(
                    command,
                    env=git.environment(),
                    cwd=room.path,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=inherits,
                    start_new_session=True,
                )
            except OSError as e:
                if e.filename == command[0]:
                    raise GitMissing from e
                raise
        self._running.add(child)
        try:
            with child:
                return self._ended(child, at)
        finally:
            self._running.discard(child)

    def close(self) -> None:
        """Kill what runs: it may wait for a minute, for which nobody is there any more."""
        for child in [*self._running]:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    def _ended(self, child: subprocess.Popen[bytes], at: Address) -> subprocess.CompletedProcess[bytes]:
        try:
            out, errors = child.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise ForgeBusy(f"{at.host} kept git waiting for too long.", self._clock() + SECONDS_BUSY) from None
        finally:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # with what it started: ssh, git-remote-https
        if child.returncode < 0:
            raise ForgeBusy(f"git was killed while it asked {at.host}.", self._clock() + SECONDS_BUSY)
        return subprocess.CompletedProcess(child.args, child.returncode, out, errors)

    @contextmanager
    def _credential(self, at: Address) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
        """Yield options and descriptors that give git the token, once, and for this origin alone."""
        token = "" if at.protocol == "ssh" else self._token().strip()
        if not token:
            yield (), ()
            return
        if not token.isprintable():
            raise RepositoryError("The token holds a control character: log in again, or set GH_TOKEN anew.")
        reader, writer = os.pipe()
        try:
            os.write(writer, f"username={USER}\npassword={token}\n".encode())
        finally:
            os.close(writer)
        helper = f'!f() {{ test "$1" = get && cat /dev/fd/{reader}; }}; f'  # <&10 is an error to some shells
        try:
            yield ("-c", "credential.helper=", "-c", f"credential.{at.origin}.helper={helper}"), (reader,)
        finally:
            os.close(reader)  # git has its own

    def _variables(self, at: Address) -> dict[str, str]:
        """Return the environment that the network needs; the rest is the clean room's."""
        given = {"GIT_ALLOW_PROTOCOL": at.protocol}
        if at.protocol == "http":  # this machine: no proxy may see the token
            return given
        if at.protocol == "https":
            names = [*_CERTIFICATES, *_PROXIES, *(p.lower() for p in _PROXIES)]
            return given | self._own(names) | _as_variables(self._own_settings(at.url))
        own = {"GIT_SSH_COMMAND": self._own_ssh_command or _SSH_COMMAND} | self._own(_SSH)
        if "GIT_SSH" in own and "GIT_SSH_COMMAND" not in self._environment and not self._own_ssh_command:
            del own["GIT_SSH_COMMAND"]  # git would prefer it
        return given | own

    def _own(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self._environment[name] for name in names if self._environment.get(name)}

    @cached_property
    def _own_ssh_command(self) -> str:
        return self._configured("--get", "core.sshCommand").removesuffix("\0")

    def _own_settings(self, url: str) -> Mapping[str, str]:
        """Return what the user has set for all their repositories about the way to an address."""
        if url not in self._settings:
            rows = (row.partition("\n") for row in self._configured("--get-urlmatch", "http", url).split("\0"))
            self._settings[url] = {key: value for key, _, value in rows if key in _OWN_SETTINGS}
        return self._settings[url]

    def _configured(self, *arguments: str) -> str:
        """Ask the user's own configuration; nothing in it is run."""
        kept = self._own(["HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"])
        environment = {"PATH": os.environ.get("PATH", os.defpath), **ENVIRONMENT}
        del environment["GIT_CONFIG_GLOBAL"]
        command = ["git", "config", "--global", "--includes", "-z", *arguments]
        return os.fsdecode(run(command, environment | kept, accept=(0, 1, 128)).out)


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that give git settings; a command line would show a proxy's password to everybody."""
    keys = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(settings)}
    values = {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(settings.values())}
    return {"GIT_CONFIG_COUNT": str(len(settings)), **keys, **values} if settings else {}


def _seen(what: str) -> str:
    """Return the clean room's ref for a remote's: by hash, as `a` and `a/b` cannot both be refs, and theirs can."""
    return f"{SEEN}/{hashlib.sha256(what.encode(errors='surrogateescape')).hexdigest()[:32]}"


def branch_ref(branch: str) -> str:
    """Return a branch's full name. Raises RepositoryError for what git would take for something else."""
    if not _BRANCH.fullmatch(branch):
        raise RepositoryError(f"{branch[:80]!r} cannot be a branch: name one, such as main.")
    return f"refs/heads/{branch}"
