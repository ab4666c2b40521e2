"""Exports: what is written reads back as what it was, with units, in the libraries of others."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from cases import SIGMA, analyzer, walk
from click.testing import CliRunner

import tramway_dask as td
from tramway_dask import export, spt_data
from tramway_dask.cli import main
from tramway_dask.errors import DataError, SpecificationError, StoreError
from tramway_dask.export.files import export_maps
from tramway_dask.spt_data.rwa import read_rwa

# pandas 3 is exact by default
EXACT = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> td.RWAnalyzer:
    """Return an analyzer of two files with two regions each, mapped in two time segments."""
    folder = tmp_path_factory.mktemp("export")
    for i in range(2):
        walk(i, 12).to_csv(folder / f"cell{i}.trxyt", sep="\t", header=False, index=False)
    models = {"mapper": td.models.DF(), "time": td.time.SlidingWindow(1.5)}
    a = analyzer(folder / "results", [str(folder / "cell?.trxyt")], **models)
    a.spt_data[0].condition, a.spt_data[1].condition = "control", "drug"
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="df"))
    a.run(progress=False)
    return a


def expected(a: td.RWAnalyzer) -> pd.DataFrame:
    """Return the maps as the analyzer gives them, by source, region and cell."""
    return a.maps("df").set_index(["source", "roi", "cell"]).sort_index()


def same_values(found: pd.DataFrame, a: td.RWAnalyzer, columns: list[str] | None = None) -> None:
    """Assert that a table has the values of the maps, bit for bit, and NaN in cells without."""
    known = expected(a)
    rows = found.set_index(["source", "roi", "cell"]).sort_index()
    columns = [c for c in known.columns if c != "at bound"] if columns is None else columns
    for c in columns:
        values = rows[c].reindex(known.index)
        if known[c].dtype.kind == "f":
            np.testing.assert_array_equal(values.to_numpy(dtype=float), known[c].to_numpy(), err_msg=c)
        else:
            assert values.tolist() == known[c].tolist(), c
    unmapped = rows.drop(known.index)
    assert len(unmapped)
    assert unmapped["diffusivity"].isna().all()


def test_parquet(done: td.RWAnalyzer, tmp_path: Path) -> None:
    (path,) = done.export("parquet", tmp_path / "m.parquet")
    same_values(pd.read_parquet(path), done)
    schema = pq.read_schema(path)
    assert schema.field("diffusivity").metadata == {b"unit": "µm²/s".encode()}
    assert schema.field("force x se").metadata == {b"unit": "kT/µm".encode()}
    assert schema.field("area").metadata == {b"unit": "µm²".encode()}
    assert schema.field("n").metadata is None
    cells = pd.read_parquet(path).groupby(["source", "roi"])
    for _, part in cells:
        by_cell = part.set_index("cell")
        links = {(i, j) for i, around in by_cell["neighbours"].items() for j in around}
        assert links
        assert links == {(j, i) for i, j in links}
        assert {j for _, j in links} <= set(by_cell.index)


def test_csv(done: td.RWAnalyzer, tmp_path: Path) -> None:
    path, beside = done.export("csv", tmp_path / "m.csv", "df")
    found = pd.read_csv(path, **EXACT)
    same_values(found, done)
    shapes = shapely.from_wkt(found["polygon"].to_numpy(dtype=object))
    assert shapely.area(shapes) == pytest.approx(found["area"].to_numpy(), rel=1e-9)
    about = json.loads(beside.read_text())
    assert about["url"] == "m.csv"
    units = {c["titles"]: c.get("unit") for c in about["tableSchema"]["columns"]}
    assert list(units) == list(found.columns)
    assert (units["diffusivity"], units["t min"], units["n"]) == ("µm²/s", "s", None)


def test_geojson(done: td.RWAnalyzer, tmp_path: Path) -> None:
    paths = done.export("geojson", tmp_path)
    assert [p.name for p in paths] == ["cell0.geojson", "cell1.geojson"]
    tables = []
    for path in paths:
        content = json.loads(path.read_text(), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
        assert content["type"] == "FeatureCollection"
        assert content["coordinates_in"].startswith("µm")
        assert content["units"]["diffusivity"] == "µm²/s"
        shapes = shapely.get_parts(shapely.from_geojson(path.read_text()))
        assert shapely.is_valid(shapes).all()
        assert (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON).all()
        assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
        table = pd.DataFrame([f["properties"] for f in content["features"]])
        assert shapely.area(shapes) == pytest.approx(table["area"].to_numpy(), rel=1e-9)
        # the centers of clipped cells may lie beyond the region, never far from their cell
        assert shapely.distance(shapes, shapely.points(table[["x", "y"]])).max() < 0.15
        tables.append(table)
    same_values(pd.concat(tables), done, ["condition", "diffusivity", "force y se", "n"])


def test_three_dimensions_have_points(tmp_path: Path) -> None:
    table = walk(0, 10, box=((0, 0, 0), (1, 1, 1)))
    a = analyzer(tmp_path / "r", [table], roi=None, tesseller=td.tessellers.KMeans(avg_location_count=100))
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))
    a.run(progress=False)
    (path,) = a.export("geojson", tmp_path)
    content = json.loads(path.read_text())
    assert content["units"]["area"] == "µm³"
    shapes = shapely.get_parts(shapely.from_geojson(path.read_text()))
    places = a.results.table("segmentation", "cells", "field0").to_pandas()[["x", "y", "z"]]
    np.testing.assert_array_equal(shapely.get_coordinates(shapes, include_z=True), places)
    assert "outline_x" not in export.to_xarray(export.maps_with_cells(a.results, "d", "field0")).coords
    (path,) = a.export("rwa", tmp_path)
    with h5py.File(path) as file:
        assert file["analyses/_instances/items/full/_data/_tessellation/_cell_centers"].shape[1] == 3


def test_xarray_and_zarr(done: td.RWAnalyzer, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (path,) = done.export("zarr", tmp_path / "m.zarr")
        (path,) = done.export("zarr", tmp_path / "m.zarr")  # takes the place of the first
        tree = xarray.open_datatree(path, engine="zarr", consolidated=False).load()
    assert [p.name for p in tmp_path.iterdir()] == ["m.zarr"]
    assert set(tree.children) == {"cell0", "cell1"}
    known = expected(done)
    for source in tree.children:
        for roi, node in tree[source].children.items():
            data = node.to_dataset()
            assert data.attrs["source"] == source
            assert data.attrs["condition"] == {"cell0": "control", "cell1": "drug"}[source]
            assert data["diffusivity"].dims == ("segment", "cell")
            assert data["force_x"].attrs["units"] == "kT/µm"
            assert data["x"].attrs["units"] == "µm"
            size = data.sizes["cell"]
            rows = known.loc[(source, roi)]
            k, j = np.divmod(rows.index.to_numpy(), size)
            assert data["diffusivity"].values[k, j].tolist() == rows["diffusivity"].tolist()
            assert data["n"].values[k, j].tolist() == rows["n"].tolist()
            assert data["t_min"].values[k].tolist() == rows["t min"].tolist()
            x, y = data["outline_x"].values, data["outline_y"].values
            shapes = [shapely.Polygon(np.column_stack(v)[np.isfinite(v[0])]) for v in zip(x, y, strict=True)]
            assert shapely.area(shapes) == pytest.approx(data["area"].values, rel=1e-9)
            first, second = data["neighbours"].values.T
            assert shapely.distance(np.array(shapes)[first], np.array(shapes)[second]).max() < 1e-9
    with pytest.raises(SpecificationError, match="several regions; give roi=.*'roi000', 'roi001'"):
        export.to_xarray(export.maps_with_cells(done.results, "df", "cell0"))


def test_tracks(done: td.RWAnalyzer, tmp_path: Path) -> None:
    source = done.spt_data[0].dataframe
    paths = done.export("trxyt", tmp_path)
    again = spt_data.from_ascii_file(paths[0]).dataframe
    pd.testing.assert_frame_equal(again, source, check_exact=True)
    pd.testing.assert_frame_equal(td.read(paths[0]), source, check_exact=True)
    (path,) = done.export("tracks", tmp_path, sources=["cell0"])
    pd.testing.assert_frame_equal(pd.read_parquet(path), source, check_exact=True)
    assert pq.read_schema(path).field("t").metadata == {b"unit": b"s"}


def test_trackpy(done: td.RWAnalyzer, tmp_path: Path) -> None:
    source = done.spt_data[0].dataframe.assign(snr=1.0)
    found = export.to_trackpy(source, pixel_size=0.1)
    assert list(found.columns) == ["y", "x", "frame", "particle", "snr"]
    assert found["frame"].is_monotonic_increasing
    assert found.attrs == {"unit": "px", "mpp": 0.1, "fps": pytest.approx(20)}
    back = found.sort_values(["particle", "frame"], ignore_index=True)
    assert (back["x"] * 0.1).to_numpy() == pytest.approx(source["x"].to_numpy(), rel=1e-12)
    assert (back["frame"] / found.attrs["fps"]).to_numpy() == pytest.approx(source["t"].to_numpy())
    assert export.to_trackpy(source).attrs["mpp"] == 1
    (path,) = done.export("trackpy", tmp_path, sources=["cell0"], pixel_size=0.1)
    again = td.read(path, pixel_size=0.1, dt=0.05)
    assert again[["n", "x", "y", "t"]].to_numpy() == pytest.approx(source[["n", "x", "y", "t"]].to_numpy())


@pytest.mark.parametrize("d", [2, 3])
def test_napari(d: int, tmp_path: Path) -> None:
    box = ((0,) * d, (1,) * d)
    source = walk(3, 6, box=box)
    layer = export.to_napari(source, pixel_size=0.1)
    data, scale = layer["data"], layer["scale"]
    assert data.shape == (len(source), d + 2)
    assert layer["graph"] == {}
    assert len(scale) == d + 1
    order = np.lexsort((data[:, 1], data[:, 0]))
    assert (order == np.arange(len(data))).all()
    assert data[:, 2:][:, ::-1] * 0.1 == pytest.approx(source[list("xyz"[:d])].to_numpy())
    assert data[:, 1] * scale[0] == pytest.approx(source["t"].to_numpy(), abs=1e-9)
    assert layer["features"]["t"].tolist() == source["t"].tolist()
    a = analyzer(tmp_path / "r", [source], roi=None)
    (path,) = a.export("napari", tmp_path)
    with np.load(path) as stored:
        assert stored["feature t"].tolist() == source["t"].tolist()
        assert stored["data"].shape == data.shape


def test_times_that_are_no_frames() -> None:
    table = pd.DataFrame({"n": [1] * 4, "x": 0.0, "y": 0.0, "t": [0, 0.01, 0.013, 0.03]})
    with pytest.raises(DataError, match="are not multiples of"):
        export.to_trackpy(table)
    assert export.to_trackpy(table, dt=0.001)["frame"].tolist() == [0, 10, 13, 30]
    with pytest.raises(DataError, match="no trajectory has two localizations"):
        export.to_napari(table.head(1))
    rounded = pd.DataFrame({"n": 1, "x": 0.0, "y": 0.0, "t": np.round(np.arange(3000) / 30, 2)})
    assert export.to_trackpy(rounded)["frame"].tolist() == list(range(3000))
    assert export.to_trackpy(rounded).attrs["fps"] == pytest.approx(30, rel=1e-3)
    gap = pd.DataFrame({"n": [1, 1, 1, 2], "x": 0.0, "y": 0.0, "t": [0.5, 0.6, 0.9, 1.0]})
    assert export.to_trackpy(gap)["frame"].tolist() == [0, 1, 4, 5]


def load_rwa(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.core.hdf5.store import load_rwa

        return load_rwa(str(path), lazy=False)


@pytest.mark.oracle
@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("overlapping", [False, True])
def test_rwa_in_tramway(tmp_path: Path, segmented: bool, overlapping: bool) -> None:
    parts: dict[str, Any] = {"mapper": td.models.DF()}
    if segmented:
        parts["time"] = td.time.SlidingWindow(1.5)
    if overlapping:
        parts["sampler"] = td.sampler.Knn(20)
    a = analyzer(tmp_path / "r", [walk(0, 12)], **parts)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="df", sampling_label="a/b"))
    a.run(progress=False)
    (path,) = a.export("rwa", tmp_path)
    source = a.spt_data[0]
    pd.testing.assert_frame_equal(read_rwa(path), source.dataframe, check_exact=True)
    tree = load_rwa(path)
    assert list(tree.data.columns) == list(source.dataframe.columns)
    assert set(tree.labels) == {"a|b - roi000", "a|b - roi001"}
    for _, region, node in source.analyses.items():
        ours, maps = node.data, node.child("df").data
        branch = tree[f"a|b - {region}"]
        theirs = branch.data
        mesh = theirs.tessellation.spatial_mesh if segmented else theirs.tessellation
        np.testing.assert_array_equal(mesh.cell_centers, ours.tessellation.spatial_mesh.centers)
        adjacency = mesh.cell_adjacency.tocsr() != 0
        assert (adjacency != ours.tessellation.spatial_mesh.adjacency).nnz == 0
        np.testing.assert_array_equal(mesh.cell_volume, ours.tessellation.spatial_mesh.areas)
        pd.testing.assert_frame_equal(theirs.points, ours.points, check_exact=True)
        index, known = theirs.cell_index, ours.cell_index
        assert isinstance(index, tuple) == isinstance(known, tuple)
        if isinstance(known, tuple):
            assert set(zip(*map(list, index), strict=True)) == set(zip(*map(list, known), strict=True))
        else:
            np.testing.assert_array_equal(index, known)
        np.testing.assert_array_equal(theirs.location_count, ours.location_count)
        assert theirs.param["roi"]["label"] == region
        if segmented:
            np.testing.assert_array_equal(theirs.tessellation.time_lattice, ours.segments)
        else:
            for cell in range(len(mesh.cell_centers)):
                outline = mesh.vertices[mesh.cell_vertices[cell]]
                np.testing.assert_allclose(outline, ours.tessellation.polygon(cell), atol=1e-8)
        inferred = branch["df"].data
        assert inferred.mode == maps.mode
        assert inferred.localization_error == pytest.approx(SIGMA**2)
        pd.testing.assert_frame_equal(
            inferred.maps, maps.table, check_exact=True, check_names=False, check_index_type=False
        )


@pytest.mark.oracle
def test_tramway_infers_from_it(tmp_path: Path) -> None:
    """TRamWAy goes on with our cells, and finds the diffusivity that we find."""
    a = analyzer(tmp_path / "r", [walk(0, 12)], roi=None)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))
    a.run(progress=False)
    (path,) = a.export("rwa", tmp_path)
    tree = load_rwa(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.helper import infer

        theirs = infer(tree["full"].data, "d", sigma=SIGMA, jeffreys_prior=False)
    ours = a.maps("d").set_index("cell")["diffusivity"]
    found = theirs.maps["diffusivity"]
    many = ours.index[a.maps("d")["n"] > 30]
    assert found.loc[many].to_numpy() == pytest.approx(ours.loc[many].to_numpy(), rel=1e-3)


def test_command(done: td.RWAnalyzer, tmp_path: Path) -> None:
    results = str(done.results.folder)
    ran = CliRunner().invoke(main, ["export", results, "--format", "geojson", "--source", "cell1"])
    assert ran.exit_code == 0, ran.output
    written = done.results.folder / "exports" / "df" / "cell1.geojson"
    assert ran.output.strip() == str(written)
    assert json.loads(written.read_text())["features"][0]["properties"]["condition"] == "drug"
    # trajectories are read again, from where the run has read them
    ran = CliRunner().invoke(main, ["export", results, "--format", "trxyt", "-o", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    again = td.read(tmp_path / "cell1.trxyt")
    pd.testing.assert_frame_equal(again, done.spt_data[1].dataframe, check_exact=True)
    ran = CliRunner().invoke(main, ["export", results, "--format", "rwa", "-o", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    for options, message in (
        (["--format", "csv", "--label", "x"], "no maps labelled 'x'"),
        (["--format", "csv", "--source", "x"], "no source 'x' here; known: 'cell0', 'cell1'"),
        (["--format", "trxyt", "--source", "x"], "no source 'x' here"),
        (["--format", "csv", "--pixel-size", "0.1"], "pixel_size is for the formats"),
        (["--format", "trxyt", "--label", "df"], "is not that of one label"),
        (["--format", "csv", "--sampling", "x"], "no maps 'df' of sampling 'x'"),
    ):
        ran = CliRunner().invoke(main, ["export", results, *options])
        assert ran.exit_code in (1, 2)
        assert message in ran.output
    # exports are no results
    assert done.results.labels() == {"segmentation": ["df"]}


def test_nothing_is_half_written(done: td.RWAnalyzer, tmp_path: Path, monkeypatch: Any) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("here")
    for form in ("parquet", "csv", "geojson", "zarr", "trxyt", "rwa"):
        with pytest.raises(StoreError, match="cannot write"):
            done.export(form, blocked / "below")
    monkeypatch.setattr("tramway_dask.export.rwa._put_maps", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        done.export("rwa", tmp_path / "rwa")
    assert list((tmp_path / "rwa").iterdir()) == []
    with pytest.raises(SpecificationError, match="format: unknown value 'xls'"):
        done.export("xls")
    with pytest.raises(SpecificationError, match="format: unknown value 'rwa'"):
        export_maps(done.results, "rwa", tmp_path, "df")
