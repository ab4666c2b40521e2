"""Plots by TRamWAy's names and arguments: ``a.mapper.mpl``, ``a.tesseller.mpl``, ``f.mpl``, ``r.mpl``.

Arguments that have another name here are translated; those that have no meaning here are accepted and a
warning tells what replaces them; names that neither package knows are errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SpecificationError
from .plotoptions import (
    FIGURE,
    LOST,
    adjust,
    artefact_of,
    axes_of,
    draw_contour,
    finish,
    frame_of,
    is_asked,
    known_options,
    options_of_maps,
    real_time,
    rest_of,
    style_of_dots,
    style_of_lines,
)

__all__ = ["MapperPlots", "TessellerPlots"]


class MapperPlots:
    """Plots of maps, with the arguments of TRamWAy's ``a.mapper.mpl``."""

    def plot(
        self,
        maps: Any,
        feature: Any = None,
        sampling: Any = None,
        axes: Any = None,
        aspect: Any = "equal",
        interior_contour: Any = None,
        overlay_locations: Any = False,
        logscale: Any = None,
        **options: Any,
    ) -> Any:
        """Plot maps; see `tramway_dask.plot.map`, whose arguments are taken too.

        Parameters
        ----------
        maps : Maps or analysis
        feature : str or sequence of str
            A sequence makes one figure each.
        sampling : Partition or analysis, optional
        axes : Axes, optional
        aspect : optional
            Of the axes.
        interior_contour : bool or dict, optional
            Draw a line inside of the border: ``margin`` (relative), ``linestyle``, ``linewidth``, ``color``.
        overlay_locations : bool or dict
        logscale : bool or str, optional
            Logarithmic colours.
        options : optional
            ``unit`` (label of the colour bar; ``'std'`` for the usual unit), ``clim``, ``clip``,
            ``colormap``, ``colorbar``, ``xlim``, ``ylim``, ``delaunay``, ``segment``, ``title``, ``figsize``,
            ``output_file``, ``dpi``, …

        Returns
        -------
        Axes
            A list of them for a sequence of features.
        """
        from .. import plot

        if not isinstance(feature, str) and isinstance(feature, Sequence | set | frozenset):
            if axes is not None and len(feature) > 1:
                raise SpecificationError("mapper.mpl.plot: several features need axes each: call it for each")
            given = (sampling, axes, aspect, interior_contour, overlay_locations, logscale)
            return [self.plot(maps, each, *given, **options) for each in feature]
        maps, sampling = artefact_of(maps), artefact_of(sampling)
        frame = frame_of({**options, "axes": axes, "aspect": aspect})
        taken = options_of_maps(options, feature, logscale)
        taken["overlay_locations"] = style_of_dots(overlay_locations)
        taken = known_options(taken, plot.map, "mapper.mpl.plot")
        ax = plot.map(maps, feature, sampling, ax=axes_of(frame, taken), **taken)
        if interior_contour:
            margin = dict(interior_contour) if isinstance(interior_contour, Mapping) else {}
            draw_contour(ax, maps if sampling is None else sampling, margin)
        return finish(ax, frame)

    def animate(
        self,
        fig: Any,
        maps: Any = None,
        feature: Any = None,
        sampling: Any = None,
        overlay_locations: Any = False,
        axes: Any = None,
        aspect: Any = "equal",
        logscale: Any = False,
        composable: bool = True,
        **options: Any,
    ) -> Any:
        """Animate maps over time segments; see `tramway_dask.plot.animate`, whose arguments are taken too.

        Parameters
        ----------
        fig : Figure or Movie
            A movie gets another part, in `axes`. May be left out.
        maps, feature, sampling, overlay_locations, axes, aspect, logscale
            As for `plot`.
        composable : bool
            Movies are always.
        options : optional
            ``interval`` (ms; ``'rt'``: as the segments follow each other in time), ``repeat``, and as for
            `plot`.

        Returns
        -------
        Movie
        """
        from .. import plot

        if not (hasattr(fig, "savefig") or hasattr(fig, "to_jshtml")):
            fig, maps, feature, sampling = None, fig, maps if feature is None else feature, sampling
        maps, sampling = artefact_of(maps), artefact_of(sampling)
        frame = frame_of({**options, "axes": axes, "aspect": aspect})
        taken = options_of_maps(options, feature, logscale)
        taken["overlay_locations"] = style_of_dots(overlay_locations)
        if isinstance(taken.get("interval"), str):
            taken["interval"] = real_time(taken["interval"], maps if sampling is None else sampling)
        taken = known_options(taken, plot.animate, "mapper.mpl.animate")
        movie = plot.animate(maps, feature, sampling, figure=fig, ax=axes_of(frame, taken, fig), **taken)
        adjust(frame["axes"] or movie.figure.axes[0], frame)
        return movie


class TessellerPlots:
    """Plots of cells, with the arguments of TRamWAy's ``a.tesseller.mpl``."""

    def plot(
        self,
        tessellation: Any,
        locations: Any = None,
        axes: Any = None,
        voronoi_options: Any = None,
        delaunay_options: Any = None,
        location_options: Any = (),
        **options: Any,
    ) -> Any:
        """Plot localizations and cells; see `tramway_dask.plot.cells`, whose arguments are taken too.

        Parameters
        ----------
        tessellation : Partition, Tessellation or analysis
        locations : DataFrame, optional
            Default: those of the partition.
        axes : Axes, optional
        voronoi_options : dict, optional
            ``color``, ``linewidth``; False for no outlines.
        delaunay_options : bool or dict, optional
            Draw lines between neighbours.
        location_options : dict, optional
            ``color``, ``alpha``, ``size``, ``marker``; None for no localizations.
        options : optional
            ``aspect``, ``title``, ``cell_indices``, ``segment``, ``figsize``, ``output_file``, …

        Returns
        -------
        Axes
        """
        from .. import plot

        frame = frame_of({"aspect": "equal", **options, "axes": axes})
        taken = rest_of(options)
        taken["adjacency"] = is_asked(delaunay_options) or is_asked(
            taken.pop("delaunay", taken.get("adjacency"))
        )
        if taken.pop("xy_layer", None) == "delaunay":
            taken["adjacency"] = True
        if taken.pop("cell_indices", False):
            taken["indices"] = True
        taken |= style_of_lines(
            voronoi_options if voronoi_options is not None else taken.pop("voronoi", None)
        )
        dots = style_of_dots(dict(location_options or ()) if location_options is not None else False)
        taken["style"] = dots if isinstance(dots, dict) else None
        if locations is None:
            locations = taken.pop("locations", location_options is not None)
        taken = known_options(taken, plot.cells, "tesseller.mpl.plot")
        return finish(
            plot.cells(artefact_of(tessellation), locations, ax=axes_of(frame, taken), **taken), frame
        )

    def plot_cell_indices(
        self,
        tessellation: Any,
        axes: Any = None,
        voronoi_options: Any = None,
        delaunay_options: Any = None,
        aspect: Any = "equal",
        title: Any = None,
        *,
        font_size: float | None = None,
        shift_indices: bool = False,
        **options: Any,
    ) -> Any:
        """Plot cells with their numbers.

        Parameters
        ----------
        tessellation, axes, voronoi_options, delaunay_options
            As for `plot`.
        aspect, title : optional
        font_size : float, optional
            Default: as large as fits.
        shift_indices : bool
            Count from 1.
        options : optional
            As for `plot`; and of the texts: ``color``, ``alpha``, ``fontweight``, …

        Returns
        -------
        Axes
        """
        known = {*FIGURE, "segment", "locations", "roi"}
        of_texts = {k: v for k, v in options.items() if k not in known and k not in LOST}
        rest = {k: v for k, v in options.items() if k not in of_texts}
        rest |= {"indices": True, "title": title, "aspect": aspect}
        shown = {"locations": rest.pop("locations", False), "voronoi_options": voronoi_options}
        ax = self.plot(tessellation, axes=axes, delaunay_options=delaunay_options, **shown, **rest)
        size = of_texts.pop("fontsize", font_size)
        for text in ax.texts:
            if shift_indices:
                text.set_text(str(int(text.get_text()) + 1))
            if size is not None:
                text.set_fontsize(size)
            try:
                text.set(**of_texts)
            except (AttributeError, ValueError) as error:
                raise SpecificationError(f"plot_cell_indices: {error}") from error
        return ax

    def animate(
        self,
        fig: Any,
        sampling: Any = None,
        axes: Any = None,
        voronoi_options: Any = None,
        location_options: Any = (),
        **options: Any,
    ) -> Any:
        """Animate the localizations over time segments; see `tramway_dask.plot.animate_cells`.

        Parameters
        ----------
        fig : Figure or Movie
            May be left out.
        sampling : Partition or analysis
        axes, voronoi_options, location_options
            As for `plot`.
        options : optional
            ``interval`` (ms; ``'rt'``: as the segments follow each other in time), ``repeat``, ``aspect``.

        Returns
        -------
        Movie
        """
        from .. import plot

        if not (hasattr(fig, "savefig") or hasattr(fig, "to_jshtml")):
            fig, sampling = None, fig
        sampling = artefact_of(sampling)
        frame = frame_of({"aspect": "equal", **options, "axes": axes})
        taken = rest_of(options)
        lines = style_of_lines(voronoi_options)
        taken |= {"color": lines["color"]} if "color" in lines else {}
        dots = style_of_dots(dict(location_options or ()))
        taken["style"] = dots if isinstance(dots, dict) else None
        if isinstance(taken.get("interval"), str):
            taken["interval"] = real_time(taken["interval"], sampling)
        taken = known_options(taken, plot.animate_cells, "tesseller.mpl.animate")
        movie = plot.animate_cells(sampling, figure=fig, ax=axes_of(frame, taken, fig), **taken)
        adjust(frame["axes"] or movie.figure.axes[0], frame)
        return movie
