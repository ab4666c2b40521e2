"""Tessellations edited by hand, saved to files and read back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import walk
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.component import canonical
from tramway_dask.errors import InferenceError, SegmentationError
from tramway_dask.inference.models import DV, D
from tramway_dask.segmentation import (
    Hexagons,
    KMeans,
    Partition,
    Squares,
    Tessellation,
    VoronoiSampler,
    segment,
)
from tramway_dask.segmentation.locating import NearestCenter, NestedCells, locator_from
from tramway_dask.spt_data.tables import translocations

BOX = [[0.0, 0.0], [1.0, 1.0]]


def cloud(seed=0, size=400, dimension=2):
    return np.random.default_rng(seed).random((size, dimension)) ** 1.5


def voronoi(seed=0, size=30, dimension=2):
    return Tessellation.from_centers(cloud(seed, size, dimension), [[0.0] * dimension, [1.0] * dimension])


def links(mesh):
    return {tuple(pair) for pair in mesh.pairs.tolist()}


def same(one, other):
    for name in ("centers", "areas", "box", "vertices", "polygon_offsets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert (one.adjacency != other.adjacency).nnz == 0
    assert one.fingerprint() == other.fingerprint()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), dimension=st.sampled_from([2, 3]), number=st.integers(0, 12))
def test_cells_deleted_are_cells_never_made(seed, dimension, number):
    mesh = voronoi(seed, 20, dimension)
    gone = np.random.default_rng(seed).permutation(20)[:number]
    edited = mesh.delete_cells(gone)
    same(edited, Tessellation.from_centers(np.delete(mesh.centers, gone, axis=0), mesh.box))
    assert edited.areas.sum() == pytest.approx(1)
    mask = np.isin(np.arange(20), gone)
    same(mesh.delete_cells(mask), edited)
    assert mesh.number_of_cells == 20


def test_deletion_keeps_the_links_between_the_other_cells():
    mesh = Squares(resolution=0.25, adjacency="diagonal").tessellate(cloud(), box=BOX)
    cut = mesh.set_adjacency(10, 11, False)
    edited = cut.delete_cells(5)
    number = [i for i in range(16) if i != 5]
    kept = {(number[i], number[j]) for i, j in links(edited)}
    assert {pair for pair in links(cut) if 5 not in pair} <= kept
    assert (10, 11) not in kept
    # the neighbours of the hole meet in its middle, no other link is new
    assert kept - links(cut) <= {(1, 9), (4, 6), (1, 4), (1, 6), (4, 9), (6, 9)}


def test_links_are_cut_and_made():
    mesh = voronoi(3)
    i, j = mesh.pairs[0]
    cut = mesh.set_adjacency(j, i, False)
    assert links(cut) == links(mesh) - {(i, j)} and i not in cut.neighbours(j) and j not in cut.neighbours(i)
    assert links(cut.set_adjacency([i], [j])) == links(mesh)
    assert links(mesh.set_adjacency(i, j, 1)) == links(mesh) and links(mesh.set_adjacency(i, j, -1)) == links(
        cut
    )
    assert (cut.adjacency != cut.adjacency.T).nnz == 0
    np.testing.assert_array_equal(cut.areas, mesh.areas)
    far = next((a, b) for a in range(30) for b in range(a) if b not in mesh.neighbours(a))
    assert links(mesh.set_adjacency(*far)) - links(mesh) == {tuple(sorted(far))}
    assert cut.fingerprint() != mesh.fingerprint() and mesh.freeze() is mesh


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda m: m.delete_cells(30), "from 0 to 29"),
        (lambda m: m.delete_cells([-1]), "from 0 to 29"),
        (lambda m: m.delete_cells([0.5]), "numbers of cells"),
        (lambda m: m.delete_cells(np.arange(30)), "all cells"),
        (lambda m: m.set_adjacency(2, 2), "its own neighbour"),
        (lambda m: m.set_adjacency(2, 99), "from 0 to 29"),
    ],
)
def test_edits_that_cannot_be(edit, match):
    with pytest.raises(SegmentationError, match=match):
        edit(voronoi())


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", [Squares, KMeans, Hexagons])
def test_saved_and_read_back(tmp_path, kind, dimension):
    if kind is Hexagons and dimension == 3:
        return
    points = cloud(1, dimension=dimension)
    mesh = kind(resolution=0.3).tessellate(points)
    mesh.save(tmp_path / "cells.npz")
    loaded = Tessellation.load(str(tmp_path / "cells.npz"))
    same(loaded, mesh)
    np.testing.assert_array_equal(loaded.cell_index(points), mesh.cell_index(points))
    assert [p.name for p in tmp_path.iterdir()] == ["cells.npz"]


def nested():
    parent, children = cloud(5, 3), [cloud(6, 4), cloud(7, 1), cloud(8, 2)]
    locator = NestedCells(
        NearestCenter(parent), tuple(map(NearestCenter, children)), np.cumsum([0, *map(len, children)])
    )
    return parent, children, locator


def test_nested_cells_are_found_parent_first():
    parent, children, locator = nested()
    points = cloud(9, 200)

    def closest(p, centers):
        return int(((centers - p) ** 2).sum(axis=1).argmin())

    owners = [closest(p, parent) for p in points]
    expected = [locator.starts[u] + closest(p, children[u]) for p, u in zip(points, owners, strict=True)]
    np.testing.assert_array_equal(locator.nearest(points), expected)
    again = locator_from(json.loads(json.dumps(locator.to_dict())))
    np.testing.assert_array_equal(again.nearest(points), expected)
    with pytest.raises(SegmentationError, match="unknown kind 'cube'"):
        locator_from({"kind": "cube"})


def test_how_points_are_found_is_saved(tmp_path):
    _, children, locator = nested()
    plain = Tessellation.from_centers(np.concatenate(children), BOX)
    mesh = Tessellation(
        plain.centers, plain.adjacency, plain.areas, plain.box, plain.vertices, plain.polygon_offsets, locator
    )
    assert mesh.fingerprint() != plain.fingerprint()
    mesh.save(tmp_path / "cells.npz")
    loaded = Tessellation.load(tmp_path / "cells.npz")
    same(loaded, mesh)
    points = cloud(9, 200)
    assert not np.array_equal(mesh.cell_index(points), plain.cell_index(points))
    np.testing.assert_array_equal(loaded.cell_index(points), mesh.cell_index(points))
    with pytest.raises(SegmentationError, match="kind 'nested' cannot be deleted"):
        mesh.delete_cells(0)


def test_files_that_hold_no_tessellation(tmp_path):
    path = tmp_path / "cells.npz"
    with pytest.raises(SegmentationError, match="no file of a tessellation"):
        Tessellation.load(path)
    for content in (b"", b"n x y t\n", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(SegmentationError, match="is no file of a tessellation"):
            Tessellation.load(path)
    np.savez(path, centers=np.zeros((2, 2)))
    with pytest.raises(SegmentationError, match="about"):
        Tessellation.load(path)
    np.savez(path, about=np.array(json.dumps({"type": "Tessellation", "format": 99})))
    with pytest.raises(SegmentationError, match="format 99"):
        Tessellation.load(path)
    np.savez(path, about=np.array([{}], dtype=object))
    with pytest.raises(SegmentationError, match="is no file"):
        Tessellation.load(path)


def test_content_makes_the_fingerprint():
    mesh = voronoi(1)
    assert mesh.fingerprint() == voronoi(1).fingerprint() != voronoi(2).fingerprint()
    assert canonical(mesh) == {"object": "Tessellation", "content": mesh.fingerprint()}


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "plugin"), [(Squares, "grid"), (KMeans, "kmeans"), (Hexagons, "hexagon")])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_location_count": 5},
        {"avg_location_count": 30},
        {"min_location_count": 5, "avg_location_count": 60},
        {"rel_min_distance": 5.0},
        {"rel_avg_distance": 3.0},
        {"avg_location_count": 30, "rel_min_distance": 4.0},
    ],
    ids=str,
)
def test_counts_and_distances_as_in_tramway(kind, plugin, options):
    from tramway.helper import tessellate

    df = translocations(walk(0, 40))
    # the command's default is the analyzer's, given by name
    theirs = tessellate(df, plugin, verbose=False, **{"min_location_count": 20, **options})
    centers = theirs.tessellation.cell_centers
    ours = kind(**({"tol": 1e-6} if kind is KMeans else {}), **options).tessellate(df)
    assert len(ours) == len(centers) > 3
    # k-means stops at a tolerance
    near = np.sqrt(((ours.centers[:, None] - centers[None]) ** 2).sum(axis=2)).min(axis=1)
    assert near.max() < (1e-9 if kind is not KMeans else 1e-3)


def test_components_that_are_not_linked_are_inferred_apart():
    df = translocations(walk(0, 60))
    mesh = Squares(resolution=0.2).tessellate(df)
    left = mesh.centers[:, 0] < 0.5
    crossing = mesh.pairs[left[mesh.pairs[:, 0]] != left[mesh.pairs[:, 1]]]
    cut = mesh.set_adjacency(*crossing.T, False)
    model = DV(diffusivity_prior=1.0, potential_prior=1.0)
    whole = model.infer(segment(df, tesseller=mesh)).table
    apart = model.infer(segment(df, tesseller=cut)).table
    assert not np.allclose(whole["potential"], apart["potential"])
    for side in (left, ~left):
        cells = np.flatnonzero(side)
        partition = segment(df, tesseller=cut)
        index = partition.cell_index
        rows = np.flatnonzero(np.isin(index, cells))
        alone = Partition.from_arrays(
            points=partition.points.iloc[rows],
            param=partition.param,
            **partition.to_arrays()
            | {
                "indices": np.argsort(index[rows], kind="stable"),
                "indptr": np.cumsum([0, *np.bincount(index[rows], minlength=len(mesh))]),
            },
        )
        one, other = apart.loc[cells], model.infer(alone).table
        np.testing.assert_allclose(one["diffusivity"], other["diffusivity"], rtol=1e-5)
        np.testing.assert_allclose(
            one["potential"] - one["potential"].mean(),
            other["potential"] - other["potential"].mean(),
            atol=1e-4,
        )


def test_no_links_and_no_translocations_are_said():
    df = translocations(walk(0, 60))
    mesh = Squares(resolution=0.2).tessellate(df)
    lonely = mesh.set_adjacency(*mesh.pairs.T, False)
    maps = DV(diffusivity_prior=1.0, potential_prior=1.0).infer(segment(df, tesseller=lonely))
    assert not len(maps.table) and "no two neighbouring cells" in str(maps.attrs)
    assert len(D().infer(segment(df, tesseller=lonely)).table) == len(mesh)
    empty = segment(df, tesseller=mesh, sampler=VoronoiSampler(min_location_count=10**6))
    for model in (D(), DV(diffusivity_prior=1.0)):
        with pytest.raises(InferenceError, match="no cell holds a translocation"):
            model.infer(empty)
