"""A movie of matplotlib's, with controls that need no other site and clear words where ffmpeg is missing.

Imports matplotlib: to be imported when a movie is made, not before.
"""

from __future__ import annotations

import base64
import contextlib
import io
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rcParams
from matplotlib.animation import FuncAnimation, writers

from ..errors import MissingDependencyError, SpecificationError, StoreError
from ..results.files import write_atomically
from .player import page, player

__all__ = ["Movie"]

VIDEOS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
PICTURES = {".gif": "pillow", ".webp": "pillow", ".apng": "pillow"}

Draw = Callable[[int], list[Any]]
# the types of matplotlib's animations differ between its versions
Base: Any = FuncAnimation


class Movie(Base):
    """Pictures that follow each other; several parts of a figure may move together.

    Parameters
    ----------
    figure : Figure
    draw : callable
        Draws picture k, and returns what was drawn.
    count : int
        Number of pictures.
    interval : float
        Between pictures, ms.
    telling : callable, optional
        Returns, in words, what picture k shows.
    options : optional
        Of `matplotlib.animation.FuncAnimation`.

    Examples
    --------
    >>> movie = plot.animate(maps, "diffusivity")  # doctest: +SKIP
    >>> movie  # in a notebook: the movie with its controls  # doctest: +SKIP
    >>> movie.save("maps.html")  # or .gif, .mp4  # doctest: +SKIP
    """

    def __init__(
        self,
        figure: Any,
        draw: Draw,
        count: int,
        *,
        interval: float = 500.0,
        telling: Callable[[int], str] | None = None,
        **options: Any,
    ) -> None:
        self._drawn_in = figure
        self._parts = [(draw, int(count))]
        self._telling = telling
        self.interval = float(interval)
        super().__init__(
            figure,
            self._draw_parts,
            frames=int(count),
            interval=interval,
            cache_frame_data=False,
            init_func=list,
            **options,
        )

    @property
    def figure(self) -> Any:
        """The figure."""
        return self._drawn_in

    def add(self, draw: Draw, count: int) -> Movie:
        """Let another part of the figure move with the others, and return this movie.

        A part with fewer pictures stays at its last.
        """
        self._parts.append((draw, int(count)))
        self.frame_seq = self.new_frame_seq()
        return self

    def __len__(self) -> int:
        return max(count for _, count in self._parts)

    def _draw_parts(self, number: int) -> list[Any]:
        return [a for draw, count in self._parts for a in draw(min(number, count - 1))]

    def new_frame_seq(self) -> Iterator[int]:
        """Return the numbers of the pictures."""
        return iter(range(len(self)))

    new_saved_frame_seq = new_frame_seq

    def save(self, filename: Any, writer: Any = None, fps: float | None = None, **options: Any) -> None:
        """Write the movie, whole or not at all, in the format that the file name ends with.

        Parameters
        ----------
        filename : path
            ``.html``: a page with controls, which needs nothing else; ``.gif``; ``.mp4`` and other videos,
            with ffmpeg.
        writer : str or MovieWriter, optional
            Matplotlib's; default: as the file name says.
        fps : float, optional
            Pictures per second; default: as the interval says.
        options : optional
            Of matplotlib's `Animation.save`, as ``dpi``.

        Raises
        ------
        SpecificationError
            If the suffix is of no known format, or a page would be too large.
        MissingDependencyError
            If ffmpeg is needed and not installed.
        StoreError
            If ffmpeg fails, or the file cannot be written.
        """
        path = Path(filename).expanduser()
        suffix = path.suffix.lower()
        fps = 1000 / max(self.interval, 1e-3) if fps is None else fps
        if writer is None and suffix in (".html", ".htm"):
            content = page(self._fragment(fps, options.get("dpi")), path.stem)
            write_atomically(path, content.encode())
            return
        if writer is None and suffix not in (*VIDEOS, *PICTURES):
            known = ", ".join((".html", *PICTURES, *VIDEOS))
            raise SpecificationError(
                f"save: {str(path)!r} ends with no known format of movies; known: {known}"
            )
        writer = writer or PICTURES.get(suffix, "ffmpeg")
        settings: Any = _ffmpeg(writer) if isinstance(writer, str) and writer.startswith("ffmpeg") else {}
        with tempfile.TemporaryDirectory() as folder, rc_context(settings), _still(self.figure):
            beside = Path(folder) / ("movie" + suffix)
            try:
                super().save(beside, writer=writer, fps=fps, **options)
            except subprocess.CalledProcessError as error:
                told = error.stderr or error.output or b""
                told = told.decode(errors="replace") if isinstance(told, bytes) else told
                raise StoreError(f"{path}: {writer} failed: {told.strip()[-500:] or error}") from error
            except OSError as error:
                raise StoreError(f"{path}: {writer} cannot write it: {error}") from error
            write_atomically(path, beside.read_bytes())

    def to_jshtml(self, fps: float | None = None, embed_frames: bool = True, default_mode: Any = None) -> str:
        """Return HTML with controls, whose pictures are part of it.

        Parameters
        ----------
        fps : float, optional
        embed_frames, default_mode : optional
            As in matplotlib; pictures are always embedded, and the movie starts anew at its end unless
            `default_mode` is ``"once"``.

        Raises
        ------
        SpecificationError
            If it would be larger than matplotlib's setting ``animation.embed_limit``.
        """
        fps = 1000 / max(self.interval, 1e-3) if fps is None else fps
        return self._fragment(fps, None, repeat=default_mode != "once")

    def to_html5_video(self, embed_limit: float | None = None) -> str:
        """Return an HTML element with the movie as a video; needs ffmpeg.

        Raises
        ------
        MissingDependencyError
            If ffmpeg is not installed.
        """
        with rc_context(_ffmpeg("ffmpeg")), _still(self.figure):
            return super().to_html5_video(embed_limit)

    def _repr_html_(self) -> str:
        return self.to_html5_video() if rcParams["animation.html"] == "html5" else self.to_jshtml()

    def _fragment(self, fps: float, dpi: float | None, *, repeat: bool = True) -> str:
        with _still(self.figure):
            pictures, told = self._pictures(dpi)
        return player(pictures, told, fps=fps, repeat=repeat)

    def _pictures(self, dpi: float | None) -> tuple[list[str], list[str]]:
        """Return all pictures, in base64, and what they show."""
        pictures: list[str] = []
        told: list[str] = []
        size = 0
        limit = float(rcParams["animation.embed_limit"]) * 1e6
        for number in self.new_saved_frame_seq():
            self._draw_parts(number)
            sink = io.BytesIO()
            self.figure.savefig(sink, format="png", dpi=dpi or min(self.figure.dpi, 110))
            pictures.append(base64.b64encode(sink.getvalue()).decode("ascii"))
            told.append(self._telling(number) if self._telling else f"picture {number + 1}")
            size += len(pictures[-1])
            if size > limit:
                raise SpecificationError(
                    f"a page of {len(self)} pictures would be larger than {limit / 1e6:g} MB: write an .mp4 or .gif, "
                    "show fewer time segments or a smaller dpi, or raise matplotlib's setting animation.embed_limit"
                )
        return pictures, told

    def __del__(self) -> None:
        # a movie that nobody looked at is no mistake: matplotlib would warn
        pass


@contextlib.contextmanager
def _still(figure: Any) -> Iterator[None]:
    """Lay a figure out once, not for every picture: that takes longer than drawing it, and axes would move."""
    engine = figure.get_layout_engine()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def _ffmpeg(writer: str) -> Any:
    """Return matplotlib's settings with which ffmpeg is found."""
    if writers.is_available(writer):
        return {}
    try:
        import imageio_ffmpeg
    except ImportError:
        pass
    else:
        return {"animation.ffmpeg_path": imageio_ffmpeg.get_ffmpeg_exe()}
    raise MissingDependencyError(
        "videos need the program ffmpeg, which is not installed: install it (apt install ffmpeg, "
        "conda install ffmpeg, or pip install imageio-ffmpeg), or write .html or .gif, which need nothing more"
    )
