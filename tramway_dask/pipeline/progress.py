"""The progress of a run: a bar in the terminal, in a notebook an output that belongs to its cell.

Where standard error is a file or a pipe, it gets a line every now and then: a bar would fill it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from ..cards import Html, card, counts, element
from ..interactive import in_notebook

if TYPE_CHECKING:
    from .work import UnitResult

__all__ = ["Progress"]

# s between two changes of what is shown
INTERVAL = 0.3
# s between two lines in a file
LINES_EVERY = 10.0
# s of the past that the rate is of
MEMORY = 30.0


class Progress:
    """Counts done and failed units in the terminal or notebook.

    In a notebook, the bar is an output of its cell, with no widgets: running the cell again replaces it, and
    a saved notebook keeps it.

    Parameters
    ----------
    total : int
    shown : bool
        False for none at all.
    before : (int, int)
        How many of them were done, and have failed, before.
    """

    def __init__(self, total: int, shown: bool = True, before: tuple[int, int] = (0, 0)) -> None:
        self.total = total
        self.done, self.failed = before
        self._closed = False
        self._shown_at = self._began = time.monotonic()
        self._past = [(self._began, sum(before))]
        self._first = sum(before)
        self._bar: Any = None
        self._display: Any = None
        self._lines = False
        if not shown or not total:
            return
        if in_notebook():
            from IPython.display import display

            self._display = display(self._shown(), display_id=True, raw=True)
        elif not sys.stderr.isatty():
            self._lines = True
        else:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, unit="unit", dynamic_ncols=True, mininterval=INTERVAL, initial=sum(before)
            )

    @property
    def left(self) -> int:
        """Number of units that are neither done nor failed."""
        return self.total - self.done - self.failed

    def advance(self, result: UnitResult) -> None:
        """Count one unit."""
        self.show(self.done + result.ok, self.failed + (not result.ok))

    def show(self, done: int, failed: int) -> None:
        """Show how many units are done and have failed."""
        more = done + failed - self.done - self.failed
        self.done, self.failed = done, failed
        if self._bar is not None:
            if failed:
                self._bar.set_postfix_str(f"{failed} failed", refresh=False)
            self._bar.update(more)
        elif (self._display is not None or self._lines) and not self._closed:
            now = time.monotonic()
            if now - self._shown_at >= (LINES_EVERY if self._lines else INTERVAL):
                self._shown_at = now
                self._past = [p for p in self._past if now - p[0] < MEMORY] or self._past[-1:]
                self._past.append((now, self.done + self.failed))
                if self._lines:
                    self._write_line()
                else:
                    self._display.update(self._shown(), raw=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
        elif self._display is not None and not self._closed:
            self._closed = True
            self._display.update(self._shown(), raw=True)
        elif self._lines and not self._closed:
            self._closed = True
            self._write_line()

    def _write_line(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more
            sys.stderr.write(f"{self._plain()}\n")
            sys.stderr.flush()

    def _rate(self) -> float:
        """Return units per second: lately or, at the end, over all."""
        now, finished = time.monotonic(), self.done + self.failed
        since, before = (self._began, self._first) if self._closed else self._past[0]
        return (finished - before) / max(now - since, 1e-9)

    def _words(self) -> str:
        rate = self._rate()
        took = time.monotonic() - self._began
        speed = "" if not rate else f"{rate:.3g} units/s" if rate >= 1 else f"{1 / rate:.3g} s/unit"
        if self._closed:
            stopped = f", stopped with {self.left} left" if self.left else ""
            told = [f"{_duration(took)}{stopped}", speed]
        else:
            told = [speed, f"{_duration(self.left / rate)} left" if rate else "no unit finished yet"]
        return ", ".join(filter(None, told))

    def _plain(self) -> str:
        finished = self.done + self.failed
        share = f"{100 * finished / self.total:.0f} %"
        return f"{finished}/{self.total} units ({share}), {self.failed} failed, {self._words()}"

    def _shown(self) -> dict[str, str]:
        """Return the bar in the forms that a notebook may want."""
        finished = self.done + self.failed
        words = self._words()
        percent = 100 * finished / self.total
        bar = element(
            "progress",
            f"{percent:.0f} %",
            value=finished,
            max=self.total,
            aria_label="units finished",
            style="width:20em;vertical-align:middle",
        )
        numbers = counts(done=("done", self.done), failed=("failed", self.failed), left=("left", self.left))
        line = Html(bar + element("span", f" {percent:.0f} % ") + numbers + element("span", words))
        return {"text/plain": self._plain(), "text/html": card("Run", element("p", line))}


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
