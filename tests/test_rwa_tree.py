"""Samplings and maps of .rwa files that TRamWAy has written, read without it."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from tramway_dask import simulate
from tramway_dask.errors import DataError
from tramway_dask.results.rwatree import read_rwa_analyses
from tramway_dask.spt_data.tables import followed, translocations


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a file, and what TRamWAy itself reads in it."""
    path = tmp_path_factory.mktemp("rwa") / "a.rwa"
    df = simulate.random_walk(diffusivity=0.1, box=((0, 0), (1, 1)), trajectory_count=40, duration=1, seed=0)
    df = df[["n", "x", "y", "t"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.core.hdf5.store import load_rwa
        from tramway.helper import infer, tessellate

        for label, options in (("hexagon", {}), ("kmeans", {"time_window_duration": 0.5})):
            given = str(path) if path.exists() else df
            tessellate(
                given, label, output_file=str(path), label=label, ref_distance=0.3, force=True, **options
            )
            infer(str(path), "d", input_label=label, output_label="d", output_file=str(path), force=True)
        return path, df, load_rwa(str(path))


@pytest.mark.oracle
@pytest.mark.parametrize("label", ["hexagon", "kmeans"])
def test_as_tramway_reads_it(written, label):
    path, df, theirs = written
    tree = read_rwa_analyses(path)
    assert_frame_equal(tree.data, df)
    assert set(tree.labels) == {"hexagon", "kmeans"}
    partition, expected = tree[label].data, theirs[label].data
    mesh = expected.tessellation
    np.testing.assert_allclose(
        partition.tessellation.spatial_mesh.centers,
        getattr(mesh, "spatial_mesh", mesh).cell_centers,
        atol=1e-12,
    )
    assert partition.number_of_cells == mesh.number_of_cells
    assert_frame_equal(partition.points, translocations(df))
    if label == "kmeans":
        np.testing.assert_allclose(partition.segments, mesh.time_lattice)
        assert partition.param["time_window"]["duration"] == 0.5
    # a location stands for the translocation that starts there
    starts = followed(df.n.to_numpy())
    index = expected.cell_index
    if isinstance(index, tuple):
        cells = [set(index[0][index[1] == c]) for c in range(partition.number_of_cells)]
    else:
        cells = [set(np.flatnonzero(index == c)) for c in range(partition.number_of_cells)]
    row = np.cumsum(starts) - 1
    for c, members in enumerate(cells):
        assert set(partition.rows(c)) == {row[i] for i in members if starts[i]}
    maps, its = tree[label]["d"].data, theirs[label]["d"].data
    assert maps.mode == its.mode == "d"
    assert maps.parent is partition
    assert_frame_equal(maps.table, its.maps, check_names=False, check_index_type=False)


@pytest.mark.oracle
def test_what_is_broken_is_refused(written, tmp_path):
    path, _, _ = written
    at = "analyses/_instances/items/hexagon/_data"

    def another_type(file):
        file[at].attrs["type"] = np.bytes_("Python.x")

    def too_many_cells(file):
        file[f"{at}/_cell_index"][:] = 99

    def cycle(file):
        file[f"{at}/param/items/me"] = file[f"{at}/param"]

    for change, match in (
        (another_type, "not a partition"),
        (too_many_cells, "99 holds points"),
        (cycle, "without end"),
    ):
        copy = tmp_path / "b.rwa"
        copy.write_bytes(path.read_bytes())
        with h5py.File(copy, "r+") as file:
            change(file)
        with pytest.raises(DataError, match=rf"b\.rwa: .*{match}"):
            read_rwa_analyses(copy)


def test_floats_that_do_not_fit_are_refused(tmp_path):
    from tramway_dask.spt_data.hdf5tables import read_hdf5

    kind = h5py.h5t.create(h5py.h5t.COMPOUND, 32)
    odd = h5py.h5t.IEEE_F64LE.copy()
    odd.set_ebias(802)
    for i, (name, member) in enumerate(
        (
            ("track_id", h5py.h5t.STD_I64LE),
            ("x", odd),
            ("y", h5py.h5t.IEEE_F64LE),
            ("frame", h5py.h5t.STD_I64LE),
        )
    ):
        kind.insert(name.encode(), 8 * i, member)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        h5py.h5d.create(file.id, b"locs", kind, h5py.h5s.create_simple((4,)))
    with pytest.raises(DataError, match="unknown type of numbers"):
        read_hdf5(tmp_path / "a.hdf5", pixel_size=0.1, dt=0.02)
