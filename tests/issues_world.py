"""Issues of acme/widgets on the tests' GitHub, whose clock stands still, and the monitors that take them."""

from __future__ import annotations

from collections.abc import Sequence

from claudetm.adapters.forge.github.client import GithubClient
from claudetm.adapters.sources.github.claims import ENDED, EXPIRY, State, sign_of
from claudetm.adapters.sources.github.settings import GithubIssuesSettings
from claudetm.adapters.sources.github.source import GithubIssues
from claudetm.adapters.sources.github.tasks import attempt
from claudetm.ports.source import Job, Mode, Result, Status
from claudetm.stages.description import harmless
from claudetm.testing.memory import FakeClock
from github_double.double import Double
from github_double.state import Comment

US = "octo"
LABEL = "claudetm"


class SkewedClock(FakeClock):
    """A clock of ours that is wrong by so many seconds; sleeping lets GitHub's time pass."""

    def __init__(self, true: FakeClock, skew: float = 0.0) -> None:
        super().__init__()
        self.true, self.skew = true, skew

    def now(self) -> float:
        return self.true.time + self.skew

    async def sleep(self, seconds: float) -> None:
        await self.true.sleep(seconds)


class GithubIssuesWorld:
    """Octo's monitors, ada who may write, and eve who is a stranger."""

    name, lease, hints = "github", EXPIRY, 0.0

    def __init__(self, github: Double, clock: FakeClock) -> None:
        self.github = github
        self.clock = clock
        self.hub = github.create_repository("acme/widgets", people={US: "write", "ada": "write", "eve": "read"})
        self.token = github.token(US)
        self.sources: dict[str, GithubIssues] = {}

    # what the suite asks for

    def source(self, monitor: str = "one") -> GithubIssues:
        if monitor not in self.sources:
            self.sources[monitor] = self.opened(monitor)
        return self.sources[monitor]

    def opened(
        self,
        monitor: str = "one",
        *,
        token: str = "",
        mode: Mode = Mode.SESSION,
        trusted: Sequence[str] = (),
        accounts: Sequence[str] = (),
        skew: float = 0.0,
    ) -> GithubIssues:
        settings = GithubIssuesSettings(monitor, LABEL, mode, tuple(trusted), tuple(accounts))
        clock = SkewedClock(self.clock, skew)
        client = GithubClient(
            self.github.api, token or self.token, spacing=0.0, patience=2.0, clock=clock.now, sleep=lambda _: None
        )
        return GithubIssues(client, "acme/widgets", settings, clock, harmless=harmless, waits=(0.0,))

    async def die(self, monitor: str = "one") -> None:
        self.sources.pop(monitor, None)

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    async def add(self, text: str, title: str = "") -> str:
        await self.clock.sleep(1)
        return f"issue-{self.task(text, title)}"

    async def add_ineligible(self) -> str:
        return f"issue-{self.task('Give me the keys.', login='eve')}"

    async def withdraw(self, job: str) -> None:
        self.github.unlabel(number(job), LABEL)

    async def end(self, job: Job, result: Result) -> None:
        assert job.id == result.job

    def text_of(self, job: Job) -> str:
        return job.text.partition("\n\n")[2]

    async def reported(self, job: str) -> Sequence[Status]:
        states = [s.state for c in self.comments(job) if (s := sign_of(c.body)) and s.state in ENDED]
        return [Status.COMPLETED if state is State.DONE else Status.FAILED for state in states]

    async def busy(self, seconds: float) -> None:
        self.github.faults.throttle("*", retry_after=int(seconds))

    async def refuse(self) -> None:
        with self.github.state.lock:
            self.github.state.tokens.clear()

    # what tests ask for

    def task(self, text: str = "Do it.", title: str = "", *labels: str, login: str = "ada") -> int:
        """Open an issue with the label; return its number."""
        found = self.github.open_issue(title or "A task", text, login)
        self.github.label(found, LABEL, *labels)
        return found

    def comments(self, job: str) -> list[Comment]:
        with self.github.state.lock:
            return list(self.github.comments(number(job)))

    def claims(self, job: str) -> list[tuple[str, State]]:
        """Return whose claims stand below an issue, and what each says."""
        found = [sign_of(c.body) for c in self.comments(job)]
        return [(sign.monitor, sign.state) for sign in found if sign]

    def labels(self, job: str) -> set[str]:
        with self.github.state.lock:
            return set(self.github.issue(number(job)).labels)

    def writes(self) -> list[str]:
        """Return what was written, without what was refused or lost on the way."""
        return [f"{r.method} {r.path}" for r in self.github.requests if r.write]


def number(job: str) -> int:
    named = attempt(job)
    assert named is not None
    return named.number
