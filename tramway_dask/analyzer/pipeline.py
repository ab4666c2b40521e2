"""The list of stages of an analyzer."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from ..cards import badge, card, guarded, table
from ..errors import SpecificationError, suggest
from ..pipeline.stages import Stage

__all__ = ["Pipeline"]


class Pipeline:
    """Stages in the order in which they run."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []
        self.collectibles: list[str] = []

    def append_stage(
        self,
        stage: Stage | Callable[[Any], Any],
        granularity: str | None = None,
        requires_mutability: bool | None = None,
        run_everywhere: bool | None = None,
        update_existing_rwa_files: bool | None = None,
        **options: Any,
    ) -> None:
        """Add a stage.

        Parameters
        ----------
        stage : Stage or callable
            From `stages`, or a function of the analyzer.
        granularity : str, optional
            'full dataset' (default for a function), 'source', 'roi' or 'time segment': into which units
            the work is cut. The function must iterate over `spt_data`, `roi.as_support_regions()` or
            `time.as_time_segments()`, which yield its unit only. With 'time segment', the segments of
            a region are one unit.
        requires_mutability : bool, optional
            Run the stage in this process, on the analyzer itself.
        run_everywhere : bool, optional
            Run the stage in this process as well, where the workers' files are others.
        update_existing_rwa_files : bool, optional
            Accepted; results are always added to what exists.
        **options
            Of the environment: ``sbatch_options``.
        """
        known = {"sbatch_options"}
        for name in options:
            if name not in known:
                raise SpecificationError(f"append_stage: unknown argument {name!r}; {suggest(name, known)}")
        changes: dict[str, Any] = {"options": options} if options else {}
        if granularity is not None:
            changes["granularity"] = granularity
        if requires_mutability is not None:
            changes["requires_mutability"] = requires_mutability
        if run_everywhere is not None:
            changes["run_everywhere"] = run_everywhere
        if not isinstance(stage, Stage):
            stage = Stage(stage)
        self._stages.append(dataclasses.replace(stage, **changes))

    def add_collectible(self, path: str) -> None:
        """Name a file that workers write and that is wanted here."""
        self.collectibles.append(str(path))

    def reset(self) -> None:
        """Remove all stages."""
        self._stages = []

    def early_setup(self, *_: Any, **__: Any) -> None:
        """Do nothing: a script runs on the submit side only."""
        warnings.warn(
            "pipeline.early_setup() does nothing here: scripts run on the submit side only",
            DeprecationWarning,
            stacklevel=2,
        )

    @property
    def stages(self) -> list[Stage]:
        """The stages."""
        return list(self._stages)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self._stages)

    def __repr__(self) -> str:
        return "Pipeline(" + " → ".join(f"{s.name} [{s.granularity}]" for s in self._stages) + ")"

    @guarded
    def _repr_html_(self) -> str:
        lines = [
            (i + 1, s.name, s.granularity, "in this process" if s.requires_mutability else "")
            for i, s in enumerate(self._stages)
        ]
        told = table(("", "stage", "one unit per", "where"), lines)
        return card("Pipeline", told or badge("left", "no stage yet"))
