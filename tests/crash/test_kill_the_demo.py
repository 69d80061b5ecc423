"""The demo, killed: real processes, the real SDK and CLI, real git. However it dies, it resumes to the same end."""

from __future__ import annotations

from typing import Final

import pytest

from crash.conftest import Undisturbed
from crash.demo_run import Demo, assert_same_end, moments

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]

MOMENTS: Final = 20
RUNS: Final = 4
SEED: Final = 3


@pytest.mark.parametrize("run", range(RUNS), ids=lambda n: f"seed{SEED}-run{n}")
def test_killed_at_random_moments_and_resumed_each_time_it_comes_to_the_same_end(
    whole_demo: Demo, undisturbed_demo: Undisturbed, run: int
) -> None:
    """Twenty moments over the length of the demo, dealt to four runs: each is killed five times."""
    demo = whole_demo
    dealt = moments(undisturbed_demo.steps, undisturbed_demo.times[-1], MOMENTS, SEED)[run::RUNS]
    print(f"seed {SEED}, run {run}: {[(m.records, round(m.seconds, 2)) for m in dealt]}")
    driver = demo.begin()
    for moment in dealt:
        demo.reach(driver, moment)
        demo.kill(driver)
        if demo.over:
            break
        driver = demo.carry_on() if demo.length else demo.begin()  # before anything is written nothing is resumed
    if not demo.over:
        assert demo.end(driver) == 0, demo.output.read_text()
    assert_same_end(demo, undisturbed_demo.outcome)
