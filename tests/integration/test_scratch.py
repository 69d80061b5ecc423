"""Temporary folders that a killed driver left: the next driver of that run removes them, and nobody else's."""

from __future__ import annotations

import tempfile
from pathlib import Path

from claudetm.adapters.agent.scratch import clear, scratch


def test_what_a_run_left_is_removed_and_another_runs_stays(tmp_path: Path) -> None:
    left = Path(tempfile.mkdtemp(prefix="claudetm-0101-0000-aaaa-", dir=tmp_path))
    (left / "spec.json").write_text("{}")
    (left / "closed").mkdir(mode=0o500)
    names = ("claudetm-0101-0000-aaaa-2-", "claudetm-0101-0000-bbbb-")
    others = [Path(tempfile.mkdtemp(prefix=name, dir=tmp_path)) for name in names]
    assert clear("0101-0000-aaaa", tmp_path) == 1
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_folder_carries_its_runs_name_and_is_gone_when_its_block_ends() -> None:
    with scratch("r1") as folder:
        assert Path(folder).name.startswith("claudetm-r1-")
        assert Path(folder).is_dir()
    assert not Path(folder).exists()
