"""The progress bar of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .work import UnitResult

__all__ = ["Progress"]


class Progress:
    """Counts done and failed units in the terminal or notebook.

    Parameters
    ----------
    total : int
    shown : bool
        False for none at all.
    """

    def __init__(self, total: int, shown: bool = True) -> None:
        from tqdm.auto import tqdm

        self._failed = 0
        self._bar: Any = tqdm(
            total=total, unit="unit", disable=not shown or not total, dynamic_ncols=True, mininterval=0.3
        )

    def advance(self, result: UnitResult) -> None:
        """Count one unit."""
        if not result.ok:
            self._failed += 1
            self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
