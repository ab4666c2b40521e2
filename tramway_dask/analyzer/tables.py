"""Tables over all sources, read from the results folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from ..errors import StoreError
from ..results.store import Store, concatenate

__all__ = ["maps_table"]


def maps_table(
    store: Store,
    label: str | int | None = None,
    *,
    lazy: bool = False,
    conditions: Mapping[str, str | None] | None = None,
) -> Any:
    """Return all maps of a label; see `RWAnalyzer.maps`.

    Parameters
    ----------
    store : Store
    label : str or int, optional
    lazy : bool
    conditions : mapping of source to condition, optional
        Default: what the last run has recorded.
    """
    label = only_label(store) if label is None else str(label)
    samplings = store.samplings_of(label)
    recorded = {n: s.get("condition") for n, s in store.read_run().get("sources", {}).items()}
    conditions = {**recorded, **{k: v for k, v in (conditions or {}).items() if v is not None}}
    if lazy:
        return _lazy(store, samplings, label)
    parts = []
    for sampling in samplings:
        part = store.table(sampling, label)
        if len(samplings) > 1:
            part = part.add_column(0, "sampling", pa.repeat(pa.scalar(sampling), len(part)))
        parts.append(part)
    table = concatenate(parts).to_pandas()
    if any(conditions.get(s) for s in table["source"].unique()):
        table.insert(1, "condition", table["source"].map(conditions))
    return table


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


def _lazy(store: Store, samplings: list[str], label: str) -> Any:
    import dask.dataframe as dd

    # one file is a partition: read as given, so that no folder name becomes a column
    paths = [path for sampling in samplings for path in store.files(sampling, label)]
    return dd.from_map(_read_frame, [str(p) for p in paths])


def _read_frame(path: str) -> pd.DataFrame:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read().replace_schema_metadata(None).to_pandas()
