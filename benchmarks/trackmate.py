"""Time and memory of reading a large TrackMate file: ``python benchmarks/trackmate.py``."""

from __future__ import annotations

import os
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import Row

FRAMES = 20
ROOM = 730  # bytes of a spot and its link


def write(path: Path, size: int) -> None:
    """Write a file of about `size` bytes, with as many features as TrackMate gives a spot."""
    rng = np.random.default_rng(0)
    count = size // (ROOM * FRAMES)
    features = " ".join(f'FEATURE_{i}="{i}.8173294067382812"' for i in range(12))
    link = 'LINK_COST="3.5051064566855894" EDGE_TIME="18.5" EDGE_X_LOCATION="41.562236825347796" ' \
        'EDGE_Y_LOCATION="55.47045801651224" EDGE_Z_LOCATION="0.0" VELOCITY="1.8721929539140962" ' \
        'DISPLACEMENT="1.8721929539140962"'  # fmt: skip
    with open(path, "w", encoding="utf-8") as out:
        out.write('<?xml version="1.0" encoding="UTF-8"?>\n<TrackMate version="7.1">')
        out.write('<Model spatialunits="micron" timeunits="sec"><AllSpots>')
        for f in range(FRAMES):
            out.write(f'<SpotsInFrame frame="{f}">')
            for i, (x, y) in enumerate(rng.uniform(0, 50, (count, 2)).tolist(), f * count):
                out.write(
                    f'<Spot ID="{i}" name="ID{i}" QUALITY="8.633167266845703" POSITION_T="{f * 0.02}" FRAME="{f}" '
                    f'VISIBILITY="1" RADIUS="5.0" POSITION_X="{x!r}" POSITION_Y="{y!r}" POSITION_Z="0.0" {features}/>\n'
                )
            out.write("</SpotsInFrame>")
        out.write("</AllSpots><AllTracks>")
        for k in range(count):
            out.write(f'<Track name="Track_{k}" TRACK_ID="{k}" NUMBER_SPOTS="{FRAMES}">')
            for i in range(k, count * (FRAMES - 1), count):
                out.write(f'<Edge SPOT_SOURCE_ID="{i}" SPOT_TARGET_ID="{i + count}" {link}/>\n')
            out.write("</Track>")
        kept = "".join(f'<TrackID TRACK_ID="{k}"/>' for k in range(count))
        out.write(f"</AllTracks><FilteredTracks>{kept}</FilteredTracks></Model></TrackMate>")


def rows(size: int = 100_000_000) -> Iterator[Row]:
    """Read a file, and compare the memory taken with that of the table."""
    from tramway_dask.spt_data.trackmate import read_trackmate

    descriptor, name = tempfile.mkstemp(suffix=".xml")
    os.close(descriptor)
    path = Path(name)
    try:
        write(path, size // 100)
        read_trackmate(path)
        write(path, size)
        megabytes = path.stat().st_size / 1e6
        began = time.perf_counter()
        table = read_trackmate(path)
        taken = time.perf_counter() - began
        held = table.memory_usage(index=False).sum()
        del table
        tracemalloc.start()
        read_trackmate(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    finally:
        path.unlink()
    case = f"{megabytes:.0f} MB of XML"
    yield Row("TrackMate XML", case, megabytes / taken, "MB/s", "", None, ours=taken)
    met = bool(peak < 3 * held)
    yield Row(
        "TrackMate XML: memory / table",
        case,
        peak / held,
        "×",
        "< 3 ×",
        met,
        note=f"table {held / 1e6:.1f} MB",
    )


if __name__ == "__main__":
    for row in rows():
        print(row.name, row.case, row.shown(), row.note)
