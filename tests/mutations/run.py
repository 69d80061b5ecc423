"""Break GitHub forge and monitor in one place at a time, and see that the suite notices. Run by `make mutate`.

Each mutation is applied to a copy of the sources; the tests that are named for it must fail there, and pass where
nothing is broken. One that survives is printed, and the exit code is 1. That each still applies, and that its tests
are there, is held by tests/unit/test_mutations.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = ROOT / "src" / "claudetm"
_SECONDS: Final = 600
_PYTEST: Final = (sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "--timeout=60", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True)
class Mutation:
    """`old`, which stands once in the file, becomes `new`. `tests` are pytest's arguments, from tests/, that notice.

    They run in this process alone: what starts the installed program does not see the copy.
    """

    name: str
    file: str  # below src/claudetm
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, sources: Path) -> str:
        """Return the file's text with the mutation in it. Raises ValueError where it does not apply exactly once."""
        text = (sources / self.file).read_text(encoding="utf-8")
        if self.old == self.new or text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


def of(file: str, *mutations: tuple[str, str, str, str]) -> tuple[Mutation, ...]:
    """Return the mutations of a file: name, what is replaced, by what, and the tests, with spaces between."""
    return tuple(Mutation(name, file, old, new, tuple(tests.split())) for name, old, new, tests in mutations)


def survives(mutation: Mutation, sources: Path) -> tuple[bool, str]:
    """Return whether the tests pass although the code is wrong, and what they say."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = _copied(sources, Path(folder))
        (copy / mutation.file).write_text(mutation.applied(sources), encoding="utf-8")
        return _passes(mutation.tests, copy.parent, mutation.name)


def _copied(sources: Path, folder: Path) -> Path:
    return shutil.copytree(sources, folder / "src" / "claudetm", ignore=shutil.ignore_patterns("__pycache__"))


def _passes(tests: Sequence[str], sources: Path, name: str) -> tuple[bool, str]:
    """Return whether the tests pass with these sources. Raises RuntimeError where they could not be run."""
    environment = {**os.environ, "PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [*_PYTEST, *tests], cwd=ROOT / "tests", env=environment, capture_output=True, timeout=_SECONDS, check=False
    )
    said = ended.stdout.decode(errors="replace")
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"{name}: pytest ended with {ended.returncode}:\n{said[-2000:]}")
    return ended.returncode == 0, said


def main() -> int:
    """Try every mutation, or those whose names hold all the words that are said; return the exit code."""
    from mutations import github, monitor

    words = [word for word in sys.argv[1:] if word != "-v"]
    wanted = [m for m in (*github.MUTATIONS, *monitor.MUTATIONS) if all(word in m.name for word in words)]
    if not wanted:
        print(f"No mutation's name holds {' and '.join(words)}.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        sources = _copied(SOURCES, Path(folder))  # as they are now: somebody may work on them meanwhile
        try:
            return 0 if _all_caught(wanted, sources, verbose="-v" in sys.argv) else 1
        except (ValueError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1


def _all_caught(mutations: Sequence[Mutation], sources: Path, *, verbose: bool) -> bool:
    """Try mutations, as many at once as there are cores, and print what becomes of each."""
    began = time.monotonic()
    for mutation in mutations:
        mutation.applied(sources)
    sound, said = _passes(sorted({t for m in mutations for t in m.tests}), sources.parent, "nothing broken")
    if not sound:
        raise RuntimeError(f"The tests that are named fail though nothing is broken:\n{said[-2000:]}")
    left = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tried = pool.map(lambda m: survives(m, sources), mutations)
        for mutation, (survived, said) in zip(mutations, tried, strict=True):
            print(f"{'SURVIVED' if survived else 'caught  '}  {mutation.name}", flush=True)
            if verbose:
                print("\n".join(line for line in said.splitlines() if "Error" in line or line.startswith("FAILED")))
            left += survived
    print(f"{len(mutations) - left} of {len(mutations)} caught in {time.monotonic() - began:.0f} s")
    return not left


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    sys.exit(main())
