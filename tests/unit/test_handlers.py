"""Handlers and tables say the same: what a handler may return is what its row lets be acted."""

from __future__ import annotations

import types
import typing

import pytest

from claudetm.stages import CHANGE_HANDLERS, RUN_HANDLERS
from claudetm.workflow.events import ChangeBlocked, RunBlocked
from claudetm.workflow.limits import Wait
from claudetm.workflow.stages import Phase, Stage
from claudetm.workflow.transitions import acted


def returns(handler: object) -> set[type]:
    annotation = typing.get_type_hints(handler)["return"]
    return set(typing.get_args(annotation)) if isinstance(annotation, types.UnionType) else {annotation}


@pytest.mark.parametrize("stage", CHANGE_HANDLERS)
def test_a_changes_handler_returns_what_its_stage_lets_be_acted(stage: Stage) -> None:
    assert returns(CHANGE_HANDLERS[stage]) == {*acted(stage), ChangeBlocked, Wait}


@pytest.mark.parametrize("phase", RUN_HANDLERS)
def test_a_runs_handler_returns_what_its_phase_lets_be_acted(phase: Phase) -> None:
    assert returns(RUN_HANDLERS[phase]) == {*acted(phase), RunBlocked, Wait}


def test_every_place_where_something_is_acted_has_a_handler() -> None:
    stages = {s for s in Stage if acted(s) - {ChangeBlocked}}
    phases = {p for p in Phase if acted(p) - {RunBlocked}}
    assert (stages, phases) == (set(CHANGE_HANDLERS), set(RUN_HANDLERS))
