"""Manifests: tables that say of each file of an experiment what the file does not say.

A manifest is a text table (separated by commas, semicolons or tabs) with a header. Lines that begin
with ``#`` are comments. Paths are relative to its folder. The sheets of GEMspa are manifests too.
"""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..component import non_negative, positive
from ..errors import DataError, SpecificationError, TramwayDaskError, suggest
from .files import expand, match

if TYPE_CHECKING:
    from .files import Place

__all__ = ["COLUMNS", "Entry", "entry_of", "match_entries", "read_manifest"]

COLUMNS = ("file", "condition", "replicate", "reader", "dt", "pixel_size", "localization_precision", "roi")
_SYNONYMS = {
    "file": "filename filepath path source file_name",
    "condition": "group treatment genotype",
    "replicate": "repeat experiment batch",
    "reader": "format",
    "dt": "frame_interval time_step dt_s",
    "pixel_size": "px_size pixelsize pixel_size_um pixel_size_µm",
    "localization_precision": "sigma loc_precision localization_precision_um localization_precision_µm",
    "roi": "roi_file roi_path",
    "alias": "name",
    "directory": "folder dir",
}
_NAMES = {name: role for role, names in _SYNONYMS.items() for name in (role, *names.split())}
# columns that say nothing to a program
_REMARKS = {"note", "notes", "comment", "comments", "remark", "remarks", "id", ""}
# what GEMspa writes beside its own conditions
_GEMSPA = {"movie_file_dir", "image_file_dir", "cell"}
_NUMBERS: dict[str, Callable[[str, Any], float]] = {
    "dt": positive,
    "pixel_size": positive,
    "localization_precision": non_negative,
}


@dataclass(frozen=True)
class Entry:
    """One row of a manifest.

    Attributes
    ----------
    where : str
        The manifest and the line.
    file : str
        Absolute path or pattern.
    condition, replicate, reader, alias : str or None
    dt : float or None, s
    pixel_size, localization_precision : float or None, µm
    roi : str or None
        Absolute path of a file of regions.
    """

    where: str
    file: str
    condition: str | None = None
    replicate: str | None = None
    reader: str | None = None
    alias: str | None = None
    dt: float | None = None
    pixel_size: float | None = None
    localization_precision: float | None = None
    roi: str | None = None

    def apply(self, source: Any, place: Place | None = None) -> None:
        """Set on a source what the row says; its file of regions may be at another place.

        Raises
        ------
        RegionError
            If the file of regions cannot be read.
        """
        said = set()
        for name in ("condition", "replicate", "reader", "alias", "localization_precision"):
            value = getattr(self, name)
            if value is not None:
                setattr(source, name, value)
                said.add(name)
        if self.dt is not None:
            source.options.pop("dt", None)
            source.frame_interval = self.dt
            said |= {"frame_interval", "dt", "time_step"}
        if self.pixel_size is not None:
            source.options["pixel_size"] = self.pixel_size
        if "localization_precision" in said:
            said.add("localization_error")
        source.stated = frozenset(said)
        if self.roi is not None:
            try:
                if place is None or os.path.isfile(self.roi):
                    source.roi.from_ascii_file(self.roi)
                else:
                    source.roi.from_ascii_file(place.translated(self.roi), place=place)
            except TramwayDaskError as error:
                raise type(error)(f"{self.where}, column 'roi': {error}") from error


def read_manifest(path: str | os.PathLike[str]) -> list[Entry]:
    """Read a manifest.

    Parameters
    ----------
    path : str or path
        Text file with a header. Columns, in any order, all but the first optional: ``file`` (path or
        pattern), ``condition``, ``replicate``, ``reader`` (name of the format), ``dt`` (s), ``pixel_size``
        (µm), ``localization_precision`` (µm), ``roi`` (file of regions), ``alias``, ``note``. In a sheet
        with the columns ``directory`` and ``file name``, as GEMspa writes them, all further columns
        together are the condition.

    Returns
    -------
    list of Entry
        One per row, in order. An empty cell says nothing.

    Raises
    ------
    DataError
        If the file cannot be read.
    SpecificationError
        If a column is not known, or a cell is wrong; the message names the line and the column.
    """
    path = Path(expand(path))
    rows = _rows(path)
    if not rows:
        raise SpecificationError(
            f"{path}: the manifest is empty; its first line names the columns: {_known()}"
        )
    line, header = rows[0]
    roles, factors = _roles(header, f"{path}, line {line}", rows)
    entries = [_entry(path, n, cells, header, roles, factors) for n, cells in rows[1:]]
    if not entries:
        raise SpecificationError(f"{path}: the manifest names no file")
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.file in seen:
            raise SpecificationError(
                f"{entry.where}, column 'file': {entry.file} is in {seen[entry.file]} already"
            )
        seen[entry.file] = entry.where
    return entries


def entry_of(entries: Sequence[Entry], matches: Mapping[str, Sequence[str]]) -> dict[str, Entry]:
    """Return the row of each file.

    Parameters
    ----------
    entries : sequence of Entry
    matches : mapping of str to sequence of str
        The files that each pattern stands for.

    Raises
    ------
    SpecificationError
        If a file is in several rows.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        for path in matches.get(entry.file, ()):
            former = found.setdefault(path, entry)
            if former is not entry:
                raise SpecificationError(
                    f"{entry.where}, column 'file': {entry.file!r} and {former.file!r} ({former.where}) both "
                    f"stand for {path}; a file can be in one row only"
                )
    return found


def match_entries(
    entries: Sequence[Entry], *, elsewhere: bool | None
) -> tuple[dict[str, Sequence[str]], dict[str, str]]:
    """Return the files here of each row, and the rows whose files are not here; see `match`.

    Raises
    ------
    DataError
        If a file is not here and can be nowhere else; the message names the line.
    """
    found: dict[str, Sequence[str]] = {}
    absent: dict[str, str] = {}
    for entry in entries:
        try:
            found[entry.file], missing = match([entry.file], elsewhere=elsewhere, what="no such file:")
        except DataError as error:
            raise DataError(f"{entry.where}, column 'file': {error}") from error
        absent.update(dict.fromkeys(missing, f"{entry.file} ({entry.where})"))
    return found, absent


def _known() -> str:
    return ", ".join(COLUMNS)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the numbered lines of the file, split, but for comments and empty ones."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the manifest {path}: {error.strerror or error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise DataError(f"{path}: not a manifest: it is no text (save a table as csv)")
    lines = [
        (i, line)
        for i, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith(("#", '"#'))
    ]
    if not lines:
        return []
    separator = max("\t;,", key=lines[0][1].count)
    rows = []
    for i, line in lines:
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True))
        except csv.Error as error:
            raise SpecificationError(f"{path}, line {i}: {error}") from error
        cells = [cell.strip() for cell in cells]
        if any(cells):
            rows.append((i, cells))
    return rows


def _key(name: str) -> str:
    return "_".join(name.lower().replace("-", " ").split())


def _without_unit(key: str) -> str:
    for unit in ("_(s)", "_[s]", "_(µm)", "_[µm]", "_(um)", "_[um]"):
        key = key.removesuffix(unit)
    return key


def _roles(
    header: Sequence[str], where: str, rows: Sequence[tuple[int, list[str]]]
) -> tuple[dict[str, int], list[int]]:
    """Return which column plays which role, and the columns that together are the condition."""
    keys = [_without_unit(_key(name)) for name in header]
    if keys[0] == "condition" and len(keys) > 1 and all(k.isdecimal() for k in keys[1:]):
        raise SpecificationError(
            f"{where}: this sheet lists the values of conditions ({', '.join(cells[0] for _, cells in rows[1:])}), "
            "not the files that have them; give the sheet that GEMspa saves once files are chosen, or a "
            "manifest with the columns file and condition"
        )
    sheet = "file_name" in keys and "directory" in keys
    roles: dict[str, int] = {}
    factors = []
    for i, key in enumerate(keys):
        role = _NAMES.get(key)
        if role is not None and not (sheet and role in ("condition", "replicate")):
            if role in roles:
                raise SpecificationError(
                    f"{where}: the columns {header[roles[role]]!r} and {header[i]!r} are both {role!r}"
                )
            roles[role] = i
        elif sheet and key not in _GEMSPA | _REMARKS:
            factors.append(i)
        elif not sheet and key not in _REMARKS:
            raise SpecificationError(
                f"{where}: unknown column {header[i]!r}; {suggest(header[i], [*COLUMNS, 'alias', 'note'])}"
            )
    if "file" not in roles:
        raise SpecificationError(f"{where}: there is no column 'file'; a manifest may have {_known()}")
    return roles, factors


def _entry(
    path: Path,
    line: int,
    cells: Sequence[str],
    header: Sequence[str],
    roles: Mapping[str, int],
    factors: Sequence[int],
) -> Entry:
    where = f"{path}, line {line}"
    if len(cells) > len(header):
        raise SpecificationError(
            f"{where}: {len(cells)} cells, but the header has {len(header)} columns; "
            "names with separators in them need quotation marks"
        )
    cells = [*cells, *[""] * (len(header) - len(cells))]
    values: dict[str, Any] = {role: cells[i] for role, i in roles.items() if cells[i]}
    if "file" not in values:
        raise SpecificationError(f"{where}, column {header[roles['file']]!r}: no file is named")
    for name, check in _NUMBERS.items():
        if name in values:
            try:
                values[name] = check(name, _number(values[name]))
            except ValueError as error:
                told = f"expected a number, got {values[name]!r}"
                told = str(error).partition(": ")[2] if isinstance(error, SpecificationError) else told
                raise SpecificationError(f"{where}, column {header[roles[name]]!r}: {told}") from None
    if "reader" in values:
        _check_reader(values["reader"], f"{where}, column {header[roles['reader']]!r}")
    if factors:
        values["condition"] = _joined(header, cells, factors)
    folder = expand(values.pop("directory", ""))
    values["file"] = _within(path.parent / folder, expand(values["file"]))
    if "roi" in values:
        values["roi"] = os.path.abspath(path.parent / expand(values["roi"]))
    return Entry(where=where, **values)


def _within(folder: Path, name: str) -> str:
    """Return the absolute path of a file, or of a pattern of which the folder is no part."""
    plain = os.path.abspath(folder / name)
    if not glob.has_magic(name) or os.path.isabs(name) or os.path.isfile(plain):
        return plain
    return os.path.join(glob.escape(os.path.abspath(folder)), name)


def _number(text: str) -> float:
    return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)


def _check_reader(name: str, where: str) -> None:
    from .formats import formats

    known = formats()
    if name not in known:
        raise SpecificationError(f"{where}: unknown format {name!r}; {suggest(name, known)}")


def _joined(header: Sequence[str], cells: Sequence[str], factors: Sequence[int]) -> str | None:
    words = []
    for i in factors:
        value = cells[i]
        if value:
            words.append(f"{header[i]} = {value}" if _is_number(value) else value)
    return ", ".join(words) or None


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True
