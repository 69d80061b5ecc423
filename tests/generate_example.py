"""Make `.claude-task-master.example/` and the generated files of `examples/basic/` from a real run of the demo.

Run as `python tests/generate_example.py` from the root of the repository (`make example`). What tells of the machine,
the moment or the chance of a run is replaced by a neutral value, the same one for the same thing in every file.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.store.directory import NAME, render
from claudetm.adapters.store.journal import FileJournal, encode
from claudetm.cli.demo import GOAL
from claudetm.plan.model import Plan
from claudetm.prompts.answers import PlannerAnswer, plan_of
from claudetm.testing.scripted_model.scenario import load
from claudetm.workflow.markdown import plan_markdown
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run
from terminal import Terminal, terminal

ROOT: Final = Path(__file__).parent.parent
EXAMPLE: Final = ROOT / f"{NAME}.example"
BASIC: Final = ROOT / "examples" / "basic"
CRITERION: Final = "The command's help says in plain words what happens when no name is given."
"""Said by the user, so that there is a criteria.txt; the planner takes it word for word."""
SHOWN: Final = ("fixer", "updater")
"""The roles whose transcripts are in the example."""

RUN: Final = "1009-0853-c0de"
BEGAN: Final = 1_760_000_000  # 2025-10-09 08:53:20 UTC
HOME: Final = "/home/ada"
PID: Final = 4242


def main() -> None:
    """Run the demo and write what came of it."""
    write_basic()
    with tempfile.TemporaryDirectory() as folder:
        person = terminal(Path(folder).resolve())
        person.extra["PATH"] = "/usr/bin:/bin"  # an error names its interpreter
        person.git("config", "user.name", "Ada")
        person.git("config", "user.email", "ada@example.org")
        for command in (("init",), ("start", GOAL, "--criteria", CRITERION, "--rehearse", "demo")):
            ended = person(*command)
            if ended.returncode:
                sys.exit(f"claudetm {command[0]} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
        write_example(person)


def write_basic() -> None:
    """Write what `examples/basic/` has in common with the built-in demo."""
    BASIC.mkdir(parents=True, exist_ok=True)
    for name, text in basic().items():
        (BASIC / name).write_text(text, encoding="utf-8")


def basic() -> Mapping[str, str]:
    """Return the generated files of `examples/basic/`."""
    scenario = load("demo")
    return {
        "goal.txt": f"{GOAL}\n",
        "plan.md": plan_markdown(planned()),
        "scenario.yaml": Path(scenario.source).read_text(encoding="utf-8"),
    }


def planned() -> Run:
    """Return a run that has just got the plan which the demo's planner answers with."""
    answer = load("demo").sessions[0].turns[-1].answer
    plan: Plan = plan_of(PlannerAnswer.model_validate(answer))
    run = Run(goal=GOAL)
    run.set_plan(plan, 1)
    return run


def write_example(person: Terminal) -> None:
    """Replace the example by what the run left, all but its README."""
    for entry in [e for e in EXAMPLE.glob("*") if e.name != "README.md"]:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    neutral = Neutral(person)
    for path in _worth_showing(person.state):
        target = EXAMPLE / neutral(str(path.relative_to(person.state)))
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        target.write_bytes(b"".join(_sealed(neutral(text))) if path.name == _JOURNAL else neutral(text).encode())
    for name, text in render(example_run()).items():
        (EXAMPLE / name).write_text(text, encoding="utf-8")


_JOURNAL: Final = "journal.jsonl"


def example_run() -> Run:
    """Return the run that the example's journal tells."""
    run = Run()
    for record in FileJournal(EXAMPLE / _JOURNAL).read():
        run.apply(record)
    return run


def _worth_showing(state: Path) -> Iterator[Path]:
    """Yield the run's journal first: what is met there gets its neutral name first."""
    yield state / _JOURNAL
    for path in sorted(state.rglob("*")):
        if not path.is_file() or path in {state / _JOURNAL, state / "lock"}:
            continue
        if not path.name.startswith("session-") or _role(path) in SHOWN:
            yield path


def _role(transcript: Path) -> str:
    with transcript.open(encoding="utf-8") as lines:
        return str(json.loads(next(lines))["role"])


def _sealed(journal: str) -> Iterator[bytes]:
    """Yield the journal's lines with sums that fit what was replaced. A forge's journal has none."""
    for line in journal.splitlines():
        row: dict[str, Any] = json.loads(line)
        if "sum" not in row:
            yield f"{line}\n".encode()
            continue
        edge = (row["edge"][0], row["edge"][1])
        command = row.get("command", "")
        yield encode(Record(row["seq"], row["time"], row["type"], edge, row["data"], command, row["schema"]))


class Neutral:
    """Replaces what is particular to a run. Numbered as they come, so that two runs give the same."""

    def __init__(self, person: Terminal) -> None:
        run = str(person.events()[0]["data"]["run"])
        [folder] = (person.home / "state" / "claudetm").glob(f"*/{run}")
        self._words = {
            str(folder): f"{HOME}/.local/state/claudetm/greet-0a0a0a0a/{RUN}",
            str(person.here): f"{HOME}/greet",
            str(person.home / "tmp"): "/tmp",
            str(person.home): HOME,
            sys.base_prefix: "/usr",
            run: RUN,
        }
        texts = [p.read_text(encoding="utf-8") for p in _worth_showing(person.state)]
        times = sorted({t for text in texts for t in _TIME.findall(text)})
        self._times = {t: f"{BEGAN + n}.0" for n, t in enumerate(times)}
        self._commits = {c: _hex(f"commit {n}", 40) for n, c in enumerate(_distinct(_COMMIT, texts))}
        self._ids = {i: _uuid(n) for n, i in enumerate(_distinct(_UUID, texts), start=1)}
        self._fences = {f: _hex(f"fence {n}", 16) for n, f in enumerate(_distinct(_FENCE, texts))}
        self._checkouts = {c: _hex(f"checkout {n}", 12) for n, c in enumerate(_distinct(_CHECKOUT, texts))}

    def __call__(self, text: str) -> str:
        """Return the text with everything replaced."""
        for word, neutral in self._words.items():
            text = text.replace(word, neutral)
        for pattern, replacement in self._replacements().items():
            text = pattern.sub(replacement, text)
        return text

    def _replacements(self) -> Mapping[re.Pattern[str], Callable[[re.Match[str]], str]]:
        line = iter(range(BEGAN, BEGAN + 1_000_000))
        return {
            _CHECKOUT: lambda m: self._checkouts[m[0]],
            _FENCE: lambda m: self._fences[m[0]],
            _UUID: lambda m: self._ids[m[0]],
            _TIME: lambda m: self._times[m[0]],
            _HEX: lambda m: self._commit(m[0]),
            _PID: lambda _: str(PID),
            _TOOK: lambda _: "1000",
            _TESTED: lambda _: "0.010s",
            _LOG: lambda _: "run-20251009T085320Z",
            _MOMENT: lambda _: _utc(next(line)),
        }

    def _commit(self, found: str) -> str:
        """Return what stands for a commit id or its beginning; other hexadecimal numbers stay."""
        whole = next((c for c in self._commits if c.startswith(found)), "")
        return self._commits[whole][: len(found)] if whole else found


_TIME: Final = re.compile(r"(?<![\w.])1[6-9]\d{8}\.\d+")
_COMMIT: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_HEX: Final = re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{7,40}(?![0-9a-zA-Z])")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FENCE: Final = re.compile(r'(?<=untrusted id=\\")[0-9a-f]{16}')
_CHECKOUT: Final = re.compile(r"(?<=checkouts/)[0-9a-f]{12}")
_PID: Final = re.compile(r'(?:(?<="pid":)|(?<=\(process ))\d+')
_TOOK: Final = re.compile(r'(?<=_ms": )\d+')
_TESTED: Final = re.compile(r"(?<= in )\d+\.\d+s")
_LOG: Final = re.compile(r"run-\d{8}T\d{6}Z")
_MOMENT: Final = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def _distinct(pattern: re.Pattern[str], texts: list[str]) -> list[str]:
    return list(dict.fromkeys(found for text in texts for found in pattern.findall(text)))


def _hex(what: str, length: int) -> str:
    return hashlib.sha256(what.encode()).hexdigest()[:length]


def _uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


if __name__ == "__main__":
    main()
