"""The results folder: what is written comes back, whole or not at all."""

from __future__ import annotations

import errno
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from cases import analyzer, same_partition, walk
from hypothesis import given, settings
from hypothesis import strategies as st

import tramway_dask as td
from tramway_dask.errors import StoreError
from tramway_dask.inference.maps import Maps
from tramway_dask.results import Store, artefacts
from tramway_dask.results.files import from_filename, locked, to_filename, write_atomically
from tramway_dask.results.payload import Payload, Record
from tramway_dask.results.store import concatenate
from tramway_dask.segmentation.segmenting import segment


def cells_record(roi: str, value: float, label: str = "s") -> Record:
    table = pa.table({"cell": [0, 1], "n": [value, value]})
    return Record(label, None, roi, {"cells": table, "assignment": table}, {"value": value})


def maps_record(roi: str, value: Any, label: str = "s", map_label: str = "m") -> Record:
    return Record(
        label, map_label, roi, {"maps": pa.table({"cell": [0, 1], "d": [value, value]})}, {"value": value}
    )


def payload(name: str, records: list[Record], key: str = "k", removed: Any = ()) -> Payload:
    outputs = [[*r.output, key] for r in records]
    return Payload({"id": name, "key": key, "outputs": outputs, "removed": list(removed)}, records)


def contents(store: Store, source: str = "a") -> dict[str, Any]:
    """Return everything that a store tells of a source."""
    told: dict[str, Any] = {"units": store.units(source)}
    for label, names in store.labels().items():
        for name in ("cells", "assignment", *names):
            told[f"{label}/{name}"] = (
                store.table(label, name).to_pylist(),
                store.regions(label, name, source),
            )
    return told


def stray(folder: Path) -> list[Path]:
    return [p for p in folder.rglob(".writing-*")]


def test_payload_round_trip() -> None:
    made = payload("u", [cells_record("roi000", 1.5), maps_record("roi000", 2.5)])
    back = Payload.from_bytes(made.to_bytes())
    assert back.unit == made.unit
    for one, other in zip(back.records, made.records, strict=True):
        assert one.output == other.output
        assert one.attrs == other.attrs
        assert {k: t.to_pydict() for k, t in one.tables.items()} == {
            k: t.to_pydict() for k, t in other.tables.items()
        }


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_payload_is_recognised(data: st.DataObject) -> None:
    good = payload("u", [cells_record("roi000", 1.5), maps_record("roi000", 2.5)])
    block = bytearray(good.to_bytes())
    if data.draw(st.booleans()):
        block = block[: data.draw(st.integers(0, len(block) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            block[data.draw(st.integers(0, len(block) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        back = Payload.from_bytes(bytes(block), "there")
    except StoreError:
        pass
    else:  # a byte that nothing depends on, such as a date
        assert back.unit == good.unit
        assert [r.attrs for r in back.records] == [r.attrs for r in good.records]


def test_damaged_part_is_dropped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    good, bad = (payload(n, [cells_record(r, 1)]).to_bytes() for n, r in (("u", "roi000"), ("v", "roi001")))
    store.write_part("a", "good", good)
    store.write_part("a", "bad", bad[: len(bad) // 2])
    assert store.pending() == ["a"]
    store.merge("a")
    assert list(store.units("a")) == ["u"]
    assert not store.pending()


@settings(max_examples=12, deadline=None)
@given(order=st.permutations(range(4)), groups=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_merge_does_not_depend_on_order(tmp_path_factory: Any, order: list[int], groups: list[int]) -> None:
    regions = ["roi000", "roi001", "full", "A 000-002 - B 000"]
    parts = [payload(f"u {r}", [cells_record(r, i), maps_record(r, i)]) for i, r in enumerate(regions)]
    stores = [Store(tmp_path_factory.mktemp("store")) for _ in range(2)]
    for i, part in enumerate(parts):
        stores[0].write_part("a", f"k{i}", part.to_bytes())
    stores[0].merge("a")
    left = iter(order)
    for size in [*groups, 4]:
        for i in itertools.islice(left, size):
            stores[1].write_part("a", f"k{i}", parts[i].to_bytes())
        stores[1].merge("a")
    assert contents(stores[0]) == contents(stores[1])
    stores[1].add("a", parts)
    assert contents(stores[0]) == contents(stores[1])


def test_interrupted_merge_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.write_part("a", "k", payload("u", [cells_record("roi000", 1), maps_record("roi000", 1)]).to_bytes())
    monkeypatch.setattr(Store, "_ledger", lambda *_: tmp_path / "full" / "units.json")
    (tmp_path / "full").write_text("")
    with pytest.raises(StoreError):
        store.merge("a")
    monkeypatch.undo()
    assert store.units("a") == {}
    assert store.pending() == ["a"]
    store.merge("a")
    assert list(store.units("a")) == ["u"]
    assert store.has("s", "m", "roi000", "a")


def test_changed_sampling_drops_its_maps(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(
        "a",
        [payload("t", [cells_record(r, 1) for r in "pq"]), payload("i", [maps_record(r, 1) for r in "pq"])],
    )
    store.add("a", [payload("t p", [cells_record("p", 2)], key="other")])
    assert not store.has("s", "m", "p", "a")
    assert store.has("s", "m", "q", "a")
    assert store.record("s", None, "p", "a").attrs == {"value": 2}
    store.add("a", [payload("t q", [cells_record("q", 2)], key="other")])
    assert store.labels() == {"s": []}
    with pytest.raises(StoreError, match="no maps labelled 'm'"):
        store.samplings_of("m")


def test_removed_artefacts_go(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add("a", [payload("t", [cells_record("p", 1), maps_record("p", 1)])])
    store.add("a", [payload("r", [], removed=[["s", "m", "p"]])])
    assert store.has("s", None, "p", "a")
    assert not store.has("s", "m", "p", "a")


@pytest.mark.parametrize(
    "label",
    ["a/b", "..", ".hidden", "_x", "n -- t=0.05-30.05s", "ä µ é", "100%", "a\nb", "C:\\x", "~", "x" * 60],
)
def test_labels_with_odd_characters(tmp_path: Path, label: str) -> None:
    assert from_filename(to_filename(label)) == label
    store = Store(tmp_path / "results")
    store.add(label, [payload("u", [cells_record("p", 1, label), maps_record("p", 1, label, label)])])
    assert store.labels() == {label: [label]}
    assert store.sources(label, label) == [label]
    assert store.table(label, label)["source"].to_pylist() == [label, label]
    assert os.listdir(tmp_path) == ["results"]


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_file_names_are_reversible(label: str) -> None:
    try:
        label.encode()
    except UnicodeEncodeError:
        return
    name = to_filename(label)
    assert from_filename(name) == label
    assert "/" not in name
    assert not name.startswith(".")


def test_empty_label_is_refused() -> None:
    with pytest.raises(StoreError, match="empty"):
        to_filename("")


def test_incompatible_columns_are_reconciled() -> None:
    numbers = concatenate([pa.table({"v": [1.5]}), pa.table({"v": [True]}), pa.table({"v": [2]})])
    assert numbers["v"].to_pylist() == [1.5, 1.0, 2.0]
    texts = concatenate(
        [pa.table({"v": [1.5], "w": [1]}), pa.table({"v": ["a"]}), pa.table({"v": pa.nulls(1)})]
    )
    assert texts["v"].to_pylist() == ["1.5", "a", None]
    assert texts["w"].to_pylist() == [1, None, None]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, b"former")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space is left") as caught:
        write_atomically(path, b"new")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"former"
    assert not stray(tmp_path)


def test_interrupted_writing_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", b"new")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def tmpfs(tmp_path: Path) -> Any:
    """Mount a file system of 256 kB."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_really_full_disk(tmpfs: Path) -> None:
    store = Store(tmpfs)
    store.add("a", [payload("u", [cells_record("p", 1)])])
    before = contents(store)
    (tmpfs / "ballast").write_bytes(bytes(256 * 1024 - 4096 * (1 + len(list(tmpfs.rglob("*"))))))
    noise = np.random.default_rng(0).random(40_000)
    big = Record("s", None, "q", {"cells": pa.table({"n": noise}), "assignment": pa.table({"n": noise})}, {})
    with pytest.raises(StoreError, match="no space is left"):
        store.add("a", [payload("v", [big])])
    assert contents(store) == before
    assert not stray(tmpfs)
    room = os.statvfs(tmpfs).f_bavail * 4096
    (tmpfs / "rest").write_bytes(bytes(room))
    with pytest.raises(StoreError, match="no space is left"), locked(tmpfs):
        pass
    assert not (tmpfs / ".lock").exists()


def test_run_on_a_full_disk(tmpfs: Path, tmp_path: Path) -> None:
    a = analyzer(tmpfs / "results", [walk(0, 400)])
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    with pytest.raises(StoreError, match="no space is left"):
        a.run(progress=False)
    assert not stray(tmpfs)
    a.results = tmp_path / "elsewhere"
    assert a.run(progress=False).ok


def test_read_only_folder(tmpfs: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=4m", str(tmpfs)], check=True)
    a = analyzer(tmpfs / "results")
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    a.run(progress=False)
    before = a.maps("m")
    part = tmpfs / "results" / ".parts" / "field0"
    part.mkdir(parents=True)
    (part / "k.zip").write_bytes(b"left by a run that was killed")
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    pd.testing.assert_frame_equal(a.maps("m"), before)
    assert set(a.plan().to_frame()["status"]) == {"done"}
    with pytest.raises(StoreError, match="no permission"):
        a.run(progress=False)
    a.results = tmpfs / "another"
    with pytest.raises(StoreError, match="no permission"):
        a.run(progress=False)


def test_second_run_is_refused(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    with locked(tmp_path), pytest.raises(StoreError, match=f"another run .*{os.getpid()}"):
        a.run(progress=False)
    assert a.run(progress=False).ok
    assert not (tmp_path / ".lock").exists()


def test_lock_of_another_living_process(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tramway_dask.results.files import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"another run .*{other.pid}"), locked(tmp_path):
            pass
        other.kill()
        other.wait()
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert not (tmp_path / ".lock").exists()


def test_a_lock_that_is_about_to_go_is_waited_for(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from tramway_dask.results.files import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(1)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with locked(tmp_path, patience=60):
            assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_lock_of_another_host_is_believed(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("elsewhere 1")
    with pytest.raises(StoreError, match="elsewhere 1"), locked(tmp_path):
        pass
    assert (tmp_path / ".lock").exists()


def test_empty_lock_is_stale_after_a_while(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    with pytest.raises(StoreError), locked(tmp_path):
        pass
    os.utime(lock, (0, 0))
    with locked(tmp_path):
        assert socket.gethostname() in lock.read_text()


@pytest.mark.parametrize(
    ("dimension", "sampler", "window"),
    [
        (2, td.sampler.VoronoiSampler(), None),
        (3, td.sampler.VoronoiSampler(), None),
        (2, td.sampler.VoronoiSampler(min_location_count=12), None),
        (2, td.sampler.Knn(10), None),
        (2, td.sampler.VoronoiSampler(), td.time.SlidingWindow(1.0)),
        (2, td.sampler.Knn(10), td.time.SlidingWindow(1.0, 0.5)),
        (3, td.sampler.VoronoiSampler(min_location_count=5), td.time.SlidingWindow(1.0)),
    ],
)
def test_partition_and_maps_round_trip(tmp_path: Path, dimension: int, sampler: Any, window: Any) -> None:
    points = td.spt_data.Source(table=walk(dimension=dimension)).translocations
    points = points[abs(points["x"] - 0.5) > 0.3].reset_index(drop=True)
    tesseller = (
        td.tessellers.Squares(resolution=0.2) if dimension == 2 else td.tessellers.KMeans(resolution=0.3)
    )
    partition = segment(points, tesseller=tesseller, sampler=sampler, time=window)
    if dimension == 2 and not isinstance(sampler, td.sampler.Knn):
        assert (partition.location_count == 0).any()
    if sampler.min_location_count:
        assert len(np.unique(partition.indices)) < len(partition.points)
    partition.param["roi"] = {"label": "roi007", "bounding_box": None}
    maps = td.models.D().infer(partition, sigma=0.01)
    records = [
        artefacts.partition_record(partition, "s"),
        artefacts.maps_record(maps, "s", "m", "roi007", partition),
    ]
    Store(tmp_path).add("a", [payload("u", records)])
    Store(tmp_path).add("a", [payload("v", [cells_record("roi008", 1.0, "other")])])
    store = Store(tmp_path)
    same_partition(artefacts.to_partition(store.record("s", None, "roi007", "a")), partition)
    back = artefacts.to_maps(store.record("s", "m", "roi007", "a"))
    pd.testing.assert_frame_equal(back.table, maps.table, check_exact=True, check_index_type=False)
    assert (back.mode, back.sigma, back.features) == (maps.mode, maps.sigma, maps.features)
    assert back.attrs.keys() == maps.attrs.keys()


def test_maps_of_any_columns_round_trip(tmp_path: Path) -> None:
    partition = segment(td.spt_data.Source(table=walk()).translocations, tesseller=td.tessellers.Squares(0.3))
    values = {"n": 1, "x": 2.0, "source": "text", "condition": 3.0, "cell": 4, "a/b": True, "none": None}
    table = pd.DataFrame({k: [v] * 3 for k, v in values.items()}, index=[5, 0, 3])
    record = artefacts.maps_record(Maps(table, "mine"), "s", "m", "full", partition)
    Store(tmp_path).add("a", [payload("u", [record])])
    back = artefacts.to_maps(Store(tmp_path).record("s", "m", "full", "a")).table
    pd.testing.assert_frame_equal(back, table, check_index_type=False, check_names=False)
    beyond = Maps(pd.DataFrame({"v": [1.0]}, index=[10_000]), "mine")
    with pytest.raises(StoreError, match="10000.*does not have"):
        artefacts.maps_record(beyond, "s", "m", "full", partition)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"v": [object()]}),
        pd.DataFrame({"v": [1 + 2j]}),
        pd.DataFrame([[1.0, 2.0]], columns=["v", "v"]),
    ],
)
def test_maps_that_cannot_be_stored(table: pd.DataFrame) -> None:
    partition = segment(td.spt_data.Source(table=walk()).translocations, tesseller=td.tessellers.Squares(0.3))
    with pytest.raises(StoreError, match="maps 'm' of region 'full' cannot be stored"):
        artefacts.maps_record(Maps(table, "mine"), "s", "m", "full", partition)


def test_incomplete_sampling_is_named() -> None:
    with pytest.raises(StoreError, match="sampling 's' of region 'p' is incomplete"):
        artefacts.to_partition(cells_record("p", 1.0))


def test_labels_that_are_taken() -> None:
    with pytest.raises(StoreError, match="'segmentation'"):
        artefacts.folder_of("segmentation", "roi000")
    with pytest.raises(td.errors.SpecificationError, match="'cells'"):
        td.stages.infer("cells")


def test_newer_format_is_refused(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    a.run(progress=False)
    record = json.loads((tmp_path / "run.json").read_text())
    assert {"runs", "sources", "format"} <= set(record)
    (tmp_path / "run.json").write_text(json.dumps({**record, "format": 99}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match="newer version"):
        a.run(progress=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_foreign_and_damaged_tables_are_named(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    store = Store(tmp_path)
    store.add("a", [payload("u", [cells_record("p", 1), maps_record("p", 1)])])
    path = tmp_path / "s" / "m" / "a.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"a\.parquet"):
        store.table("s", "m")
    with pytest.raises(StoreError, match=r"a\.parquet"):
        store.has("s", "m", "p", "a")
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(StoreError, match="not written by tramway_dask"):
        store.has("s", "m", "p", "a")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(StoreError, match=r"run\.json"):
        store.read_run()


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    store, other = Store(tmp_path), Store(tmp_path)
    store.add("a", [payload("u", [cells_record("p", 0), maps_record("p", 0)])])
    state = SimpleNamespace(stop=False, seen=0, errors=[])

    def read() -> None:
        while not state.stop:
            try:
                values = set(other.table("s", "m")["d"].to_pylist())
                attrs = other.regions("s", "m", "a")["p"]["value"]
                assert len(values) == 1
                assert attrs >= values.pop()
                state.seen += 1
            except (StoreError, AssertionError) as error:
                state.errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for i in range(40):
        store.add("a", [payload("u", [maps_record("p", i)])])
    state.stop = True
    for thread in readers:
        thread.join()
    assert not state.errors
    assert state.seen > 5


def test_maps_are_readable_while_a_run_goes_on(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    a.run(progress=False)
    a.results.write_part("field0", "k", payload("u", [maps_record("roi000", 0, "segmentation")]).to_bytes())
    (tmp_path / ".lock").write_text("elsewhere 1")
    reader = td.RWAnalyzer(results=tmp_path)
    assert len(reader.maps("m"))
    assert len(reader.maps("m", lazy=True).compute()) == len(reader.maps("m"))
