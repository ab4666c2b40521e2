"""Linking beside TRamWAy's own functions."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from test_linking import DT, found, simulated

from tramway_dask.spt_data import linkers


@pytest.mark.oracle
def test_agrees_with_tramway() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.tracking.track_non_track import file_processing_loc as theirs

    table = simulated(10).sort_values("frame", kind="stable", ignore_index=True)
    table = table[table["frame"] < 20]
    ours, _ = found(linkers.NonTrackingTracker(estimated_high_diffusivity=0.3), table)
    reach = 2 * np.sqrt(2 * 0.3 * DT)
    movie, _ = theirs.convert_to_list(table[["x", "y", "frame"]].to_numpy(dtype=float))
    rows = [part.index.to_numpy() for _, part in table.groupby("frame")]
    linked = set()
    for f, (a, b) in enumerate(itertools.pairwise(rows)):
        reduced = theirs.correct_cost_function(theirs.get_cost_function(f, movie), reach)
        cost, _, _, _, row_eff, col_eff, m, n, n_row, n_col, anomaly = reduced
        _, row, column = theirs.get_assigment_matrix_from_reduced_cost(
            cost, row_eff, col_eff, m, n, n_col, n_row, anomaly
        )
        linked |= set(zip(a[np.atleast_1d(row)], b[np.atleast_1d(column)], strict=True))
    assert ours == linked
