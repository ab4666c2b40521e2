"""A few broken files of every format; `fuzzing.py` makes as many as one likes."""

from __future__ import annotations

import fuzzing
import pytest


@pytest.mark.parametrize("name", fuzzing.SEEDS)
def test_broken_files_end_in_own_errors(tmp_path, name):
    assert fuzzing.outcome_once(name, tmp_path) == "read"
    told = fuzzing.run(name, 0, 40, 2026, tmp_path)
    assert "WRONG" not in told["ended"], told
    assert told["ended"]["DataError"] >= 10
    assert told["slowest"] < fuzzing.SLOW
