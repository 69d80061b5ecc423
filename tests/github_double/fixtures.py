"""For `from github_double.fixtures import github`: a fresh double for a test, which fails where it was misused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from github_double.double import Double


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Double]:
    """A GitHub without any repositories."""
    with Double(tmp_path / "github") as double:
        yield double
