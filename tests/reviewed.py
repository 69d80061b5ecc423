"""A run that stands at its first pull request, written down as its driver would have, for a person to review."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.forge.local_journal import CheckResult, ForgeJournal
from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.ports.forge import NewPullRequest
from claudetm.workflow import events as e
from story import Story, change, plan
from terminal import Terminal, terminal

BRANCH: Final = "claudetm/r1/c1"
WEB: Final = "https://github.com/acme/widgets/pull"
CHECK: Final = "python3 -m unittest"


class Reviewed(Terminal):
    """A person in front of that run. `story` can be told on; `write` makes its journal anew."""

    story: Story
    base: str
    head: str

    @property
    def directory(self) -> StateDirectory:
        return StateDirectory(self.state)

    @property
    def records(self) -> ForgeJournal:
        """The forge's records, as whoever writes there finds them."""
        journal = ForgeJournal(self.state / "forge" / "journal.jsonl")
        journal.refresh()
        return journal

    def tell(self, *events: e.Event) -> None:
        """Let more happen, and write it down."""
        self.story.tell(*events)
        self.directory.journal.write_bytes(b"".join(encode(r) for r in self.story.records))

    def commit(self, path: str, text: str) -> str:
        """Commit a file on the branch that is checked out."""
        (self.here / path).parent.mkdir(parents=True, exist_ok=True)
        (self.here / path).write_text(text, encoding="utf-8")
        self.git("add", "--", path)
        self.git("commit", "-q", "-m", f"Write {path}")
        return self.git("rev-parse", "HEAD").strip()


def reviewed(
    folder: Path, *, forge: str = "local", hosted: Mapping[str, str] | None = None, **settings: Any
) -> Reviewed:
    """Return a person whose run waits for reviews of #1; `settings` are those of its policy."""
    made = terminal(folder)
    person = Reviewed(made.here, made.home)
    person.git("config", "user.name", "Ada")
    person.base = person.git("rev-parse", "HEAD").strip()
    person.git("branch", "claudetm/r1/base")
    person.git("switch", "-q", "-c", BRANCH)
    person.head = person.commit("greet/loud.py", "def loud():\n    return 'HELLO'\n")
    person.git("switch", "-q", "main")
    person.directory.create(person.here / ".git")
    person.directory.lock.touch()
    records = person.records
    new = NewPullRequest("c1", BRANCH, person.head, "Greet loudly", "Why: it is wanted.")
    records.open(new, person.base, 0)
    log = person.directory.logs / "checks" / "c1.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {n}\n" for n in range(2_000)), encoding="utf-8")
    records.checked(
        1, person.head, CheckResult(CHECK, person.base, "k", ok=True, summary="exit code 0", log=str(log))
    )
    person.story = Story()
    person.tell(
        e.RunStarted(
            "r1",
            "Greet loudly",
            "main",
            person.base,
            {"checks": [CHECK], **settings},
            forge=forge,
            hosted=hosted or {},
        ),
        e.PlanProposed(plan(change("c1", tasks=2), change("c2", "c1"))),
        e.PlanApproved(),
        e.ChangeStarted("c1", BRANCH, person.base),
        e.TaskStarted("c1", "c1.t1", person.base),
        e.TaskFinished("c1", "c1.t1", person.head),
        e.TaskStarted("c1", "c1.t2", person.head),
        e.TaskSkipped("c1", "c1.t2"),
        e.ChangeReady("c1", person.head),
        e.PullRequestOpened("c1", 1, person.head, f"{WEB}/1" if hosted else BRANCH),
        e.ChecksAwaited("c1", person.head),
        e.ChecksPassed("c1", person.head, person.base),
        e.SelfReviewed("c1", person.head),
    )
    return person
