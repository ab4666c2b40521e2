"""A paragraph for the methods section of a paper, from the parameters that were used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .contents import Contents
from .parameters import told
from .references import References

__all__ = ["methods"]

Part = Mapping[str, Any]

CELLS = {
    "Squares": "a grid of rectangular cells",
    "Hexagons": "regular hexagonal cells",
    "KMeans": "Voronoi cells around centroids of the translocations (k-means)",
    "GWR": "Voronoi cells around the nodes of a gas that grows when required",
    "KDTree": "rectangular cells of a k-d tree",
    "Random": "Voronoi cells around random centres",
    "Kohonen": "Voronoi cells around the nodes of a self-organizing map",
    "GivenCenters": "Voronoi cells around given centres",
    "GivenTessellation": "given cells",
}
MAPPED = {
    "D": "the diffusivity D was",
    "DD": "the diffusivity D and the drift were",
    "DF": "the diffusivity D and the force F were",
    "DV": "the diffusivity D and the potential energy V (and the force F = −∇V) were",
}
# default number of translocations that cells are sized for, and of those at least: as `Tesseller` says
MIN_COUNT = 20


def methods(contents: Contents) -> tuple[str, list[tuple[str, str]]]:
    """Return the paragraph, and the works that it cites: (reference, DOI)."""
    references = References()
    sentences = [*_software(contents, references), *_data(contents)]
    for (stage, made), variants in contents.parameters.items():
        if len(contents.parameters) > 1:
            sentences.append(f"Stage “{stage}”{f' ({made})' if made else ''}:")
        sentences += _stage(contents, stage, made, variants, references)
    sentences += _outcome(contents)
    return " ".join(sentences), references.works


def _software(contents: Contents, references: References) -> Iterator[str]:
    versions = contents.last.get("versions") or {}
    version = versions.get("tramway_dask", "")
    yield (
        f"Trajectories were analysed with tramway_dask{f' {version}' if version else ''}, which rebuilds TRamWAy "
        f"{references.cite('tramway software', 'tramway')} on Dask {references.cite('dask')}."
    )
    python = contents.last.get("python")
    others = [f"{n} {versions[n]}" for n in ("dask", "numpy", "scipy", "pandas") if n in versions]
    if python or others:
        listed = ", ".join([*([f"Python {python}"] if python else []), *others])
        yield f"It ran on {listed} {references.cite('numpy', 'scipy')}."


def _data(contents: Contents) -> Iterator[str]:
    files, regions = len(contents.sources), sum(map(len, contents.translocations.values()))
    total = sum(n for of in contents.translocations.values() for n in of.values())
    groups = sorted({g for s in contents.sources if (g := contents.group(s, "condition"))})
    text = f"The data were {_count(files, 'file')}"
    if groups:
        text += f" of {_count(len(groups), 'condition')} ({', '.join(groups)})"
    if regions:
        text += f"; {_count(total, 'translocation')} in {_count(regions, 'region')} were analysed"
    yield text + "."
    formats = {about.get("read_as") for about in contents.sources.values()} - {None, ""}
    if formats:
        yield f"Files were read as: {'; '.join(sorted(map(str, formats)))}."
    sigma = sorted({float(s) for maps in contents.maps for s in maps.of_maps("sigma")})
    if sigma:
        span = f"{sigma[0]:g}" if len(sigma) == 1 else f"{sigma[0]:g} to {sigma[-1]:g}"
        yield f"The localization precision σ was taken as {span} µm."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _stage(
    contents: Contents,
    stage: str,
    made: str,
    variants: Sequence[tuple[int, Part]],
    references: References,
) -> Iterator[str]:
    _, parameters = variants[0]
    if len(variants) > 1:
        rest = sum(n for n, _ in variants[1:])
        yield f"({_count(rest, 'unit')} had other parameters than what follows; see the tables.)"
    if "stage" in parameters:
        function = parameters["stage"]
        name = function.get("function", stage) if isinstance(function, Mapping) else stage
        yield f"The function {name} of our own was applied."
        return
    if parameters.get("discard_static"):
        left_out = f" ({contents.discarded:,})" if contents.discarded else ""
        yield f"Translocations shorter than the localization precision{left_out} were left out."
    if "tesseller" in parameters:
        yield from _cells(parameters["tesseller"], references)
    if "time" in parameters:
        yield from _time(parameters["time"])
    if "sampler" in parameters:
        yield from _sampler(parameters["sampler"])
    if parameters.get("mapper"):
        yield from _model(contents, parameters["mapper"], made, references)


def _cells(part: Part | None, references: References) -> Iterator[str]:
    if not part:
        return
    kind = str(part.get("type") or told("", part))
    cells = CELLS.get(kind, f"cells by {kind}")
    cited = f" {references.cite('marsland')}" if kind == "GWR" else ""
    size = ""
    if part.get("resolution"):
        size = f" with a distance between neighbouring centres of {part['resolution']:g} µm"
    elif part.get("avg_probability"):
        size = f" sized to hold {part['avg_probability']:g} of the translocations on average"
    elif part.get("avg_distance") and not part.get("avg_location_count"):
        size = f" with a mean distance between centres of {part['avg_distance']:g} µm"
    elif kind not in ("GivenCenters", "GivenTessellation"):
        least = part.get("min_location_count")
        least = MIN_COUNT if least is None else least
        average = part.get("avg_location_count") or 4 * least
        size = f" sized to hold {average} translocations on average" if average else ""
    yield f"Each region was divided into {cells}{cited}{size}."
    merger = part.get("post_processing")
    if merger:
        yield f"Cells were then processed by {told('', merger)}."


def _time(part: Part | None) -> Iterator[str]:
    kind = (part or {}).get("type")
    if not part or kind == "Time":
        return
    if kind == "SlidingWindow":
        unit = "frames" if part.get("frames") else "s"
        shift = part.get("shift")
        every = f", one every {shift:g} {unit}" if shift else ", one after the other"
        yield f"Time was divided into windows of {part.get('duration'):g} {unit}{every}."
    else:
        yield f"Time was divided by {told('', part)}."


def _sampler(part: Part | None) -> Iterator[str]:
    part = part or {}
    kind = part.get("type")
    if kind == "VoronoiSampler":
        yield "A translocation belongs to the cell in which it starts."
    elif kind in ("Knn", "TimeKnn"):
        low, high = part.get("min_nn"), part.get("max_nn")
        limits = [f"at least {low}" if low else "", f"at most {high}" if high else ""]
        inside = " and ".join(filter(None, limits))
        near = "nearest to its centre" + (" and in time" if kind == "TimeKnn" else "")
        yield f"A cell was given {inside or 'the'} translocations, those {near}."
    elif kind == "SphericalSampler":
        low, high = part.get("min_radius"), part.get("max_radius")
        limits = [f"{low:g} µm at least" if low else "", f"{high:g} µm at most" if high else ""]
        yield f"A cell was given the translocations around its centre, within {' and '.join(filter(None, limits))}."
    elif kind:
        yield f"Translocations were assigned to cells by {told('', part)}."
    if part.get("min_location_count"):
        yield f"Cells of fewer than {part['min_location_count']} translocations were left empty."


def _model(contents: Contents, part: Part, made: str, references: References) -> Iterator[str]:
    kind = str(part.get("type") or told("", part))
    if kind in MAPPED:
        yield (
            f"In each cell, {MAPPED[kind]} inferred from the displacements, which obey the overdamped Langevin "
            f"equation and carry localization noise, as the maximum of the posterior "
            f"{references.cite('inferencemap', 'masson')}."
        )
        yield from _priors(contents, part, made)
        yield "Standard errors are those of the Laplace approximation, from the Hessian at the optimum."
        if part.get("confidence"):
            yield f"Confidence intervals are at the level of {part['confidence']:.4g}."
    elif kind in ("DConjugatePrior", "SNR", "BayesFactor"):
        what = {
            "DConjugatePrior": "Diffusivities were inferred with a conjugate prior",
            "SNR": "Diffusivities and the signal-to-noise ratios of forces were inferred",
            "BayesFactor": "Bayes factors of forces against none, marginalized over spurious forces, were computed",
        }[kind]
        limit = f", with a threshold of {part['B_threshold']:g}" if part.get("B_threshold") else ""
        yield f"{what} {references.cite('serov')}{limit}."
    elif kind == "LocalDensity":
        yield f"The local density of translocations was mapped {references.cite('levet')}."
    elif kind == "Density":
        yield "The density of translocations was mapped."
    else:
        yield f"Maps were made by {told('', part)}."


def _priors(contents: Contents, part: Part, made: str) -> Iterator[str]:
    names = {
        "diffusivity_prior": "of the diffusivity in space",
        "potential_prior": "of the potential in space",
        "diffusivity_time_prior": "of the diffusivity in time",
        "potential_time_prior": "of the potential in time",
        "time_prior": "in time, relative to those in space",
        "drift_prior": "of the squared drift",
        "force_prior": "of the squared force",
    }
    given = {k: part[k] for k in names if part.get(k)}
    fixed = [f"{told('', v)} ({names[k]})" for k, v in given.items() if "auto" not in str(v)]
    if fixed:
        yield f"Smoothness priors had the weights {', '.join(fixed)}."
    chosen = {k: v for k, v in given.items() if "auto" in str(v)}
    for name in chosen:
        used = [
            p[name]
            for m in contents.maps
            if made.startswith(m.sampling)
            for p in m.of_maps("priors")
            if name in p
        ]
        values = np.array([v for v in used if isinstance(v, float | int)], dtype=float)
        span = ""
        if len(values):
            span = (
                f": median {np.median(values):.3g}, from {values.min():.3g} to {values.max():.3g} over maps"
            )
        yield f"The weight of the prior {names[name]} was that of the largest evidence{span}."
    if not given:
        yield "No prior couples neighbouring cells."
    if part.get("jeffreys_prior"):
        yield "Jeffreys’ prior was added."


def _outcome(contents: Contents) -> Iterator[str]:
    counts = contents.counts()
    if counts["failed"] or counts["missing"]:
        lost = [
            f"{counts[s]:,} {word}"
            for s, word in (("failed", "failed"), ("missing", "were not run"))
            if counts[s]
        ]
        yield f"Of {_count(len(contents.units), 'unit')} of work, {' and '.join(lost)}; they are not among the results."
    if counts["flagged"]:
        yield f"The optimization of {_count(counts['flagged'], 'map')} did not converge."
