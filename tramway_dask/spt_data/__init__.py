"""Trajectories: tables, readers, and the sources of an analysis."""

from __future__ import annotations

from .analyses import Analyses, commit_as_analysis, find_artefacts
from .collection import (
    SPTData,
    from_ascii_file,
    from_ascii_files,
    from_dataframe,
    from_dataframes,
    from_files,
    from_localizations,
    from_manifest,
    from_mat_file,
    from_mat_files,
    from_rwa_file,
    from_rwa_files,
    read,
    single,
)
from .sources import Source

__all__ = [
    "Analyses",
    "SPTData",
    "Source",
    "commit_as_analysis",
    "find_artefacts",
    "from_ascii_file",
    "from_ascii_files",
    "from_dataframe",
    "from_dataframes",
    "from_files",
    "from_localizations",
    "from_manifest",
    "from_mat_file",
    "from_mat_files",
    "from_rwa_file",
    "from_rwa_files",
    "read",
    "single",
]
