"""Objects in TRamWAy's ``.rwa`` files, as rwa-python encodes them, decoded to plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .hdf5 import child, has, native, raw
from .tables import check_trajectories

__all__ = ["Decoder", "type_of"]

_DEEPEST = 30
_MOST = 200_000


def type_of(item: Any) -> str:
    """Return the Python type that an item was."""
    return _text(item.attrs.get("type", b""))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Decoder:
    """Decodes the items of one file, with an end to what a corrupt file can make of it."""

    def __init__(self) -> None:
        self.decoded = 0

    def value(self, item: Any, depth: int = 0) -> Any:
        """Return what an item is: a number, text, list, dictionary, array, table; objects as dictionaries."""
        self.decoded += 1
        if depth > _DEEPEST or self.decoded > _MOST:
            raise DataError("the objects in the file are nested without end; the file is corrupt")
        kind = type_of(item)
        if not hasattr(item, "keys"):
            return self._dataset(item, kind)
        if kind.endswith("DataFrame"):
            return self.table(item, check=False)
        if kind in ("Python.list", "Python.tuple"):
            return [self.value(i, depth + 1) for i in self._items(item)]
        if kind.endswith("dict") or kind.endswith("Dict"):
            return {label: self.value(i, depth + 1) for label, i in self.members(item)}
        if kind.endswith("Series"):
            return self.value(child(item, "data"), depth + 1)
        return {name: self.value(child(item, name), depth + 1) for name in item}

    def _dataset(self, item: Any, kind: str) -> Any:
        values = raw(item)
        if kind == "Python.unicode":
            return _text(values[()])
        if kind in ("Python.list", "Python.tuple"):
            return [_text(v) if isinstance(v, bytes) else v for v in values.ravel().tolist()]
        if values.ndim or values.dtype.kind not in "biufS":
            return native(values) if values.dtype.kind in "biuf" else values
        value = values.item()
        return _text(value) if isinstance(value, bytes) else value

    def members(self, group: Any) -> list[tuple[str | int, Any]]:
        """Return keys and items of a dictionary."""
        if has(group, "keys") and has(group, "values"):
            keys, items = self.value(child(group, "keys"), 1), self._items(child(group, "values"))
            if not isinstance(keys, list | dict) or len(keys) != len(items):
                raise DataError(f"the keys of {group.name!r} do not match its values; the file is corrupt")
            return list(zip(keys.values() if isinstance(keys, dict) else keys, items, strict=True))
        if not has(group, "items"):
            return []
        items = child(group, "items")
        whole = _text(items.attrs.get("key type", b"")).endswith("int")
        try:
            return [(int(name) if whole else name, child(items, name)) for name in items]
        except ValueError:
            raise DataError(f"the keys of {group.name!r} are not numbers; the file is corrupt") from None

    def _items(self, group: Any) -> list[Any]:
        if not hasattr(group, "keys"):
            return list(raw(group))
        names = list(group)
        if not all(name.isdecimal() for name in names):
            raise DataError(f"{group.name!r} is not a list; the file is corrupt, or of an unknown version")
        return [child(group, name) for name in sorted(names, key=int)]

    def table(self, group: Any, *, check: bool = True) -> pd.DataFrame:
        """Return a table; with `check`, of trajectories or translocations in the order of the file."""
        from .rwa import columns_of, table_of

        table = table_of(columns_of(group), group.name)
        if check:
            check_trajectories(table, group.name)
            return table
        if has(group, "index"):
            table.index = self._index(child(group, "index"), len(table))
        return table

    def _index(self, item: Any, count: int) -> pd.Index:
        if has(item, "_start"):
            bounds = [self.value(child(item, name)) for name in ("_start", "_stop", "_step")]
            index: pd.Index = pd.RangeIndex(*bounds)
        else:
            index = pd.Index(np.asarray(self.value(child(item, "data"))))
        if len(index) != count or index.dtype.kind not in "iu":
            raise DataError(f"the index of a table does not match its {count} rows; the file is corrupt")
        return index
