"""The forge on GitHub itself, held to the suite that every forge passes. Run by `make test-live`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from claudetm.errors import ClaudetmError
from live.place import Place, place, sweep
from live.world import LiveForgeSuite, LiveForgeWorld, live_world

pytestmark = [pytest.mark.live, pytest.mark.anyio, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def there() -> Place:
    try:
        found = place(os.environ)
    except ClaudetmError as error:
        pytest.exit(str(error), returncode=1)
    sweep(found, time.time())
    return found


@pytest.fixture
def world(tmp_path: Path, there: Place) -> Iterator[LiveForgeWorld]:
    with live_world(there, tmp_path) as made:
        yield made


class TestLiveForge(LiveForgeSuite):
    pass
