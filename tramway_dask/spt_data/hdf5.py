"""HDF5 files, read with care.

Nothing outside the file is opened (external links, external or virtual storage),
nothing in it is executed (no pickles), and sizes that the file cannot hold are
not believed. What h5py finds broken is a `DataError`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from .formats import Head

__all__ = [
    "SIGNATURE",
    "child",
    "has",
    "is_hdf5",
    "native",
    "numbers",
    "open_hdf5",
    "open_head",
    "raw",
    "record",
]

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# what describes a file is read in parts of up to this size
_METADATA = 1 << 16
# DEFLATE shrinks data 1032 times at most
_LARGEST_RATIO = 1100

_BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def is_hdf5(data: bytes) -> bool:
    """Tell whether the beginning of a file is that of an HDF5 file."""
    # MATLAB writes 512 bytes of its own before
    return any(data.startswith(SIGNATURE, at) for at in (0, 512, 1024, 2048))


class _Bounded(io.RawIOBase):
    """A binary file that refuses to be read beyond its end, and lists of it that have none.

    HDF5 would fill with zeros what is missing, of whatever size a corrupt file says; it would follow a list
    of free room that leads back to itself until no memory is left, and for ever one of objects without size.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        beginning = file.read(2064)
        self.origin = max(beginning.find(SIGNATURE), 0)
        version, *later = beginning[self.origin + 8 : self.origin + 15] or b"\0"
        # in bytes: how offsets and lengths are written
        self.widths = later[4:6] if version < 2 else later[:2]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        begin = self.file.tell()
        if begin + len(buffer) > self.size:
            raise OSError("the file ends before what it refers to")
        if len(buffer) <= _METADATA:
            self._check_heaps(begin, len(buffer))
            self.file.seek(begin)
        return self.file.readinto(buffer)  # type: ignore[attr-defined]

    def _check_heaps(self, begin: int, size: int) -> None:
        """Follow the lists of the heaps that begin in a part of the file, or up to three bytes before."""
        first = max(begin - 3, 0)
        self.file.seek(first)
        part = self.file.read(begin - first + size + 3)
        if len(self.widths) < 2 or not all(0 < width <= 8 for width in self.widths):
            return
        for signature, check in ((b"HEAP\0", self._check_heap), (b"GCOL\1", self._check_collection)):
            at = part.find(signature)
            while at >= 0:
                check(first + at)
                at = part.find(signature, at + 1)

    def _check_collection(self, at: int) -> None:
        """Go through the objects of a global heap, of which number 0 is the room that is left."""
        length = self.widths[1]
        self.file.seek(at + 8)
        size, head = *self._integers(length), 8 + length
        done = 8 + length
        while done + head <= size and at + done + head <= self.size:
            self.file.seek(at + done)
            number, _, room = self._integers(2, 6, length)
            taken = room if number == 0 else head + -(-room // 8) * 8
            if not head <= taken <= size:
                raise OSError("a list in the file has objects without size")
            done += taken

    def _check_heap(self, at: int) -> None:
        """Follow the list of free room of a local heap."""
        offset, length = self.widths
        self.file.seek(at + 8)
        room, free, address = self._integers(length, length, offset)
        seen = set()
        while free != 1 and free + 2 * length <= room:
            if free in seen:
                raise OSError("a list in the file leads back to itself")
            seen.add(free)
            self.file.seek(min(self.origin + address + free, self.size))
            free, _ = self._integers(length, length)

    def _integers(self, *widths: int) -> list[int]:
        """Return the next numbers of the file, 1 for those behind its end."""
        read = [self.file.read(width) for width in widths]
        return [
            int.from_bytes(data, "little") if len(data) == width else 1
            for data, width in zip(read, widths, strict=True)
        ]


@contextlib.contextmanager
def open_head(head: Head, extra: str) -> Iterator[Any]:
    """Open a file of which the beginning is at hand, and the rest where it is.

    Raises
    ------
    DataError
        As `open_hdf5`, or if the rest is out of reach.
    """
    if not head.complete and not head.path.is_file():
        raise DataError(
            f"{head.path}: what an HDF5 file holds cannot be told from its beginning; say its format: reader="
        )
    try:
        with open_hdf5(io.BytesIO(head.data) if head.complete else head.path, extra) as file:
            yield file
    except DataError as error:
        raise DataError(f"{head.path}: {error}") from error.__cause__


@contextlib.contextmanager
def open_hdf5(path: Path | BinaryIO, extra: str) -> Iterator[Any]:
    """Open a file for reading.

    Parameters
    ----------
    path : Path or binary file
        The file.
    extra : str
        Optional dependencies of this package that include h5py.

    Yields
    ------
    h5py.File

    Raises
    ------
    DataError
        If the file is no HDF5 file, or is found to be truncated or corrupt while it is open.
    MissingDependencyError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            f"{path if isinstance(path, Path) else 'this'} is an HDF5 file, and h5py is needed to read it: "
            f'pip install "tramway_dask[{extra}]" (or h5py)'
        ) from error
    try:
        with contextlib.ExitStack() as stack:
            content = stack.enter_context(open(path, "rb")) if isinstance(path, Path) else path
            yield stack.enter_context(h5py.File(_Bounded(content), "r"))
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(f"not a complete HDF5 file; it is truncated or corrupt ({error})") from error


def has(group: Any, name: str) -> bool:
    """Tell whether a group has a member of a given name, wherever it leads."""
    # h5py's own `in` opens what external links point to
    return "/" not in name and group.id.links.exists(name.encode())


def child(group: Any, name: str) -> Any:
    """Return the group or dataset of a given name, if it is in the same file.

    Raises
    ------
    DataError
        If there is none, or it is a link to elsewhere.
    """
    import h5py

    if not has(group, name):
        raise DataError(f"no {name!r} in {group.name!r}")
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise DataError(f"{name!r} in {group.name!r} is a link to elsewhere; such links are not followed")
    return group[name]


def raw(dataset: Any) -> np.ndarray:
    """Return the values of a dataset as they are stored.

    Raises
    ------
    DataError
        If it is no dataset, is stored outside the file, or is larger than the file can hold.
    """
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{dataset.name!r} is not an array")
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{dataset.name!r} is stored in another file; such files are not followed")
    if dataset.shape is None:
        raise DataError(f"{dataset.name!r} is empty")
    if not _fits(dataset.id.get_type(), dataset.dtype):
        raise DataError(f"{dataset.name!r} is of an unknown type of numbers; the file is corrupt")
    if dataset.nbytes > _LARGEST_RATIO * dataset.file.id.get_filesize():
        raise DataError(f"{dataset.name!r} pretends to be larger than the file; the file is corrupt")
    return np.asarray(dataset[()])


def _fits(stored: Any, dtype: np.dtype) -> bool:
    """Tell whether values are of the size that they have in the file.

    h5py reads floats of odd formats into larger ones, even where a record has no room for them.
    """
    import h5py

    if isinstance(stored, h5py.h5t.TypeCompoundID):
        if dtype.fields is None or stored.get_nmembers() != len(dtype.fields):
            return False
        end = 0
        for i in range(stored.get_nmembers()):
            inner, offset = dtype.fields[stored.get_member_name(i).decode()][:2]
            if (
                offset < end
                or offset + inner.itemsize > dtype.itemsize
                or not _fits(stored.get_member_type(i), inner)
            ):
                return False
            end = offset + inner.itemsize
        return True
    if isinstance(stored, h5py.h5t.TypeFloatID | h5py.h5t.TypeIntegerID):
        return stored.get_size() == dtype.itemsize <= 8
    return True


def numbers(dataset: Any) -> np.ndarray:
    """Return the values of a dataset of real numbers or truth values, in native byte order.

    Raises
    ------
    DataError
        As `raw`, or if the values are not numbers.
    """
    if getattr(dataset, "dtype", np.dtype(float)).kind not in "biuf":
        raise DataError(f"{dataset.name!r} does not hold numbers")
    return native(raw(dataset))


def record(dataset: Any) -> dict[str, np.ndarray]:
    """Return the columns of numbers of a dataset whose rows are records.

    Raises
    ------
    DataError
        As `raw`, or if the dataset has no columns.
    """
    names = getattr(getattr(dataset, "dtype", None), "names", None)
    if names is None:
        raise DataError(f"{dataset.name!r} has no columns")
    rows = raw(dataset).ravel()
    return {name: native(rows[name]) for name in names if rows.dtype[name].kind in "biuf"}


def native(values: np.ndarray) -> np.ndarray:
    """Return the array in the byte order of this machine, which pandas needs."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)
