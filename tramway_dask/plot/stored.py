"""Maps and cells of a results folder, as the plots take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import SpecificationError, suggest
from ..results.store import Store

__all__ = ["Stored", "load"]


@dataclass(frozen=True, eq=False)
class Stored:
    """Maps of one source in a results folder, with their cells.

    Attributes
    ----------
    table : DataFrame
        Rows as those of ``a.maps(label)``.
    cells : pyarrow Table
        Outlines and neighbours.
    label, source, sampling : str
        Where they are.
    """

    table: pd.DataFrame = field(repr=False)
    cells: Any = field(repr=False)
    label: str
    source: str
    sampling: str


def load(
    results: Store | str | Path,
    label: str | int | None = None,
    source: str | None = None,
    *,
    sampling: str | None = None,
) -> Stored:
    """Read the maps of a source from a results folder, with their cells.

    Parameters
    ----------
    results : Store or path
        ``a.results``, or the folder.
    label : str or int, optional
        Of the maps; default: the only one.
    source : str, optional
        Default: the only one.
    sampling : str, optional
        Label of the sampling, where maps of that label were made of several.

    Returns
    -------
    Stored
        Can be given to every plot of maps in place of `maps`.

    Raises
    ------
    StoreError
        If the folder cannot be read, or there are no maps of that label.
    SpecificationError
        If there are several labels, sources or samplings to choose from, or the one that was named is
        not there.

    Examples
    --------
    >>> from tramway_dask import plot
    >>> maps = plot.load("results", "dv", "cell1")  # doctest: +SKIP
    >>> plot.map(maps, "potential")  # doctest: +SKIP
    """
    store = results if isinstance(results, Store) else Store(results)
    chosen = _one("label", None if label is None else str(label), _labels(store, label), store)
    where = _one("sampling", sampling, store.samplings_of(chosen), store)
    name = _one("source", source, store.sources(where, chosen), store)
    table = store.table(where, chosen, name).to_pandas()
    return Stored(table, store.table(where, "cells", name), chosen, name, where)


def _labels(store: Store, label: Any) -> list[str]:
    if label is not None:
        store.samplings_of(str(label))  # complains if there is no such label
        return [str(label)]
    return list(dict.fromkeys(name for names in store.labels().values() for name in names))


def _one(kind: str, wanted: str | None, known: list[str], store: Store) -> str:
    if wanted is not None:
        if wanted not in known:
            raise SpecificationError(f"{store.folder}: no {kind} {wanted!r}; {suggest(wanted, known)}")
        return wanted
    if not known:
        raise SpecificationError(f"{store.folder} holds no maps")
    if len(known) > 1:
        listed = ", ".join(map(repr, known[:8])) + ("…" if len(known) > 8 else "")
        raise SpecificationError(
            f"{store.folder} holds maps of {len(known)} {kind}s ({listed}): choose one, "
            f"as in plot.load(results, {kind}={known[0]!r})"
        )
    return known[0]
