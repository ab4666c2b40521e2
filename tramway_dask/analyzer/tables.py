"""Tables over all sources, read from the results folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from ..errors import SpecificationError, StoreError, suggest
from ..results.files import from_filename
from ..results.store import Store, concatenate, with_groups

__all__ = ["known_groups", "maps_table", "of_sampling", "only_label"]

GROUPS = ("condition", "replicate")


def maps_table(
    store: Store,
    label: str | int | None = None,
    *,
    lazy: bool = False,
    groups: Mapping[str, Mapping[str, str]] | None = None,
) -> Any:
    """Return all maps of a label; see `RWAnalyzer.maps`.

    Parameters
    ----------
    store : Store
    label : str or int, optional
    lazy : bool
    groups : mapping, optional
        Condition and replicate of each source. Default: what the last run has recorded.
    """
    label = only_label(store) if label is None else str(label)
    samplings = store.samplings_of(label)
    known = known_groups(store, groups)
    if lazy:
        return _lazy(store, samplings, label, known)
    parts = []
    for sampling in samplings:
        part = store.table(sampling, label)
        if len(samplings) > 1:
            part = part.add_column(0, "sampling", pa.repeat(pa.scalar(sampling), len(part)))
        parts.append(part)
    return with_groups(concatenate(parts).to_pandas(), known)


def known_groups(
    store: Store, groups: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, dict[str, str | None]]:
    """Return condition and replicate of each source: as given, else as the last run has recorded."""
    recorded = store.read_run().get("sources", {})
    names = dict.fromkeys([*recorded, *(groups or {})])
    return {
        name: {g: (groups or {}).get(name, {}).get(g, recorded.get(name, {}).get(g)) for g in GROUPS}
        for name in names
    }


def of_sampling(maps: pd.DataFrame, sampling: str | None) -> pd.DataFrame:
    """Return the maps of one of several samplings.

    Raises
    ------
    SpecificationError
        If there are none of that sampling.
    """
    if sampling is None or "sampling" not in maps:
        return maps
    found = maps[maps["sampling"] == sampling]
    if found.empty:
        known = maps["sampling"].unique()
        raise SpecificationError(f"no such maps of sampling {sampling!r}; {suggest(sampling, known)}")
    return found


def only_label(store: Store) -> str:
    """Return the label of the maps of a results folder that holds but one."""
    labels = sorted({m for maps in store.labels().values() for m in maps})
    if not labels:
        raise StoreError(
            f"{store.folder} holds no maps: is it the results folder of a run, and did that infer any?"
        )
    if len(labels) > 1:
        raise StoreError(
            f"{store.folder} holds maps labelled {', '.join(map(repr, labels))}: name the label you want"
        )
    return labels[0]


def _lazy(
    store: Store, samplings: list[str], label: str, groups: Mapping[str, Mapping[str, str | None]]
) -> Any:
    import dask.dataframe as dd

    # one file is a partition: read as given, so that no folder name becomes a column
    paths = [path for sampling in samplings for path in store.files(sampling, label)]
    present = [g for g in GROUPS if any(known[g] is not None for known in groups.values())]
    # the same columns in all partitions
    values = [{g: groups.get(from_filename(p.stem), {}).get(g) for g in present} for p in paths]
    return dd.from_map(_read_frame, [str(p) for p in paths], values)


def _read_frame(path: str, groups: Mapping[str, str | None]) -> pd.DataFrame:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read().replace_schema_metadata(None).to_pandas()
    for name, value in reversed(list(groups.items())):
        column = pd.Series([value] * len(table), index=table.index, dtype="string")
        table.insert(list(table.columns).index("source") + 1, name, column)
    return table
