"""The demo, killed: real processes, the real SDK and CLI, real git. However it dies, it resumes to the same end."""

from __future__ import annotations

from typing import Final

import pytest

from crash.conftest import Undisturbed
from crash.demo_run import Demo, assert_same_end, moments

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]

MOMENTS: Final = 20
SEED: Final = 2


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_a_random_moment_it_resumes_to_the_same_end(
    demo: Demo, undisturbed: Undisturbed, moment: int
) -> None:
    driver = demo.begin()
    demo.reach(driver, moments(undisturbed.times, MOMENTS, SEED)[moment])
    demo.kill(driver)
    if not demo.length:  # before anything was written there is nothing to resume
        driver = demo.begin()
        assert demo.end(driver) == 0
    elif demo.records[-1]["type"] != "GoalVerified":
        assert demo.resume() == 0, demo.output.read_text()
    assert_same_end(demo, undisturbed.outcome)
