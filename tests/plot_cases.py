"""Maps that are drawn by the tests of pictures."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from matplotlib.quiver import Quiver

from tramway_dask.inference.maps import Maps
from tramway_dask.segmentation import SlidingWindow, Squares, segment
from tramway_dask.spt_data.tables import translocations


def close_all():
    """Close the figures that pyplot holds, if a test has imported it."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def walk(count=40, steps=30, d=2, seed=0, size=1.0):
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, size, (count, 1, d))
    places = (start + np.cumsum(rng.normal(0, 0.03, (count, steps, d)), axis=1)) % size
    table = pd.DataFrame(places.reshape(-1, d), columns=list("xyz"[:d]))
    table.insert(0, "n", np.repeat(np.arange(count), steps))
    table["t"] = np.tile(np.arange(steps) * 0.05, count)
    return table


def made_of(partition, **columns):
    """Return maps of a partition, with a force and its errors."""
    cell = np.arange(partition.number_of_cells)
    table = {
        "diffusivity": 0.05 + 0.01 * cell,
        "diffusivity se": 0.01,
        "potential": cell - 3.0,
        "potential se": 0.5,
        "force x": np.sin(cell),
        "force x se": 0.1,
        "force y": np.cos(cell),
        "force y se": 0.1,
        "at bound": False,
    }
    made = Maps(pd.DataFrame(table | columns, index=cell), "dv")
    made.parent = partition
    return made


def in_space(resolution=0.2, **options):
    return segment(translocations(walk(**options)), tesseller=Squares(resolution=resolution))


def in_time(resolution=0.25):
    time = SlidingWindow(duration=0.5)
    return segment(translocations(walk()), tesseller=Squares(resolution=resolution), time=time)


def results_table(maps, regions=("a", "b"), segments=False):
    """Return maps as a table of the results, of several regions that lie side by side, and its cells."""
    partition = maps.parent
    mesh = partition.tessellation.spatial_mesh if segments else partition.tessellation
    size = mesh.number_of_cells
    tables, cells = [], []
    for k, region in enumerate(regions):
        number = np.arange(partition.number_of_cells)
        outlines = [(mesh.polygon(c % size) + [2.0 * k, 0]).tolist() for c in number]
        where = pd.DataFrame(
            {
                "source": "s",
                "roi": region,
                "segment": number // size,
                "cell": number,
                "x": partition.centers[:, 0] + 2.0 * k,
                "y": partition.centers[:, 1],
            }
        )
        if segments:
            bounds = np.asarray(partition.segments)[number // size]
            where["t min"], where["t max"] = bounds.T
        tables.append(pd.concat([where, maps.table.reset_index(drop=True).assign(n=10)], axis=1))
        cells.append(where.assign(n=10, area=0.04, polygon=outlines))
    return pd.concat(tables, ignore_index=True), pd.concat(cells, ignore_index=True)


def colored(ax):
    return [c for c in ax.collections if c.get_array() is not None and not isinstance(c, Quiver)][-1]


def bar_label(ax):
    return ax.child_axes[0].get_ylabel()


def note(ax):
    return " ".join(t.get_text().replace("\n", " ") for t in ax.texts)
