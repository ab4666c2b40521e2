"""What a user sees when something goes wrong.

Every exception that this package raises on purpose derives from
`TramwayDaskError`, names the file, region or option at fault, says what was
expected, and what to do. Classes that replace a standard exception also derive
from it, so that ``except ValueError`` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ClusterError",
    "DataError",
    "InferenceError",
    "LabelConflictError",
    "LocalizationPrecisionWarning",
    "LostClusterError",
    "MissingDependencyError",
    "PipelineError",
    "RegionError",
    "SegmentationError",
    "SpecificationError",
    "StoreError",
    "TramwayDaskError",
    "UnitFailedError",
    "UnitsWarning",
    "UnknownAttributeError",
    "suggest",
]


class TramwayDaskError(Exception):
    """Base class of all errors raised on purpose by this package."""


class DataError(TramwayDaskError, ValueError):
    """A trajectory file or table cannot be used as it is."""


class RegionError(TramwayDaskError, ValueError):
    """A region of interest, or the file that defines it, cannot be used."""


class SpecificationError(TramwayDaskError, ValueError):
    """A parameter, option or configuration file has a wrong name or value."""


class UnknownAttributeError(TramwayDaskError, AttributeError):
    """An attribute that the object does not have was set or read."""


class SegmentationError(TramwayDaskError, ValueError):
    """Space or time cannot be segmented as asked."""


class InferenceError(TramwayDaskError, ValueError):
    """Maps cannot be inferred, or a user-defined mapper misbehaved."""


class StoreError(TramwayDaskError, OSError):
    """The results folder cannot be read or written."""


class LabelConflictError(TramwayDaskError, ValueError):
    """A label already holds results made with other parameters."""


class PipelineError(TramwayDaskError, RuntimeError):
    """The stages of a pipeline do not fit together, or nothing can be run."""


class UnitFailedError(PipelineError):
    """One unit of work failed and the run was asked to stop at the first failure."""


class ClusterError(TramwayDaskError, RuntimeError):
    """The Dask cluster cannot be started, reached or scaled."""


class LostClusterError(ClusterError):
    """The cluster was reached before and no longer is."""


class MissingDependencyError(TramwayDaskError, ImportError):
    """An optional library is needed and not installed."""


class LocalizationPrecisionWarning(UserWarning):
    """The localization precision is unknown and a default value was used."""


class UnitsWarning(UserWarning):
    """Lengths or times of a file are so large or small that their unit may be another one."""


def suggest(name: object, known: Iterable[object]) -> str:
    """Return the tail of an error message that lists the nearest known names.

    Parameters
    ----------
    name : object
        What the user wrote.
    known : iterable
        The names that would have been accepted.

    Returns
    -------
    str
        ``"did you mean 'x'? Known: 'x', 'y'"`` or ``"known: 'x', 'y'"``.

    Examples
    --------
    >>> suggest("resolutoin", ["resolution", "tilt"])
    "did you mean 'resolution'? Known: 'resolution', 'tilt'"
    """
    names = sorted(str(k) for k in known)
    listed = ", ".join(repr(k) for k in names)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(k) for k in near)}? Known: {listed}"
    return f"known: {listed}" if names else "nothing is known here"
