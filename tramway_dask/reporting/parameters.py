"""Parameters in the words of a reader: names, values, units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["parameter_tables", "told"]

UNITS = {
    "resolution": "µm",
    "reference_distance": "µm",
    "min_distance": "µm",
    "avg_distance": "µm",
    "max_distance": "µm",
    "localization_precision": "µm",
    "min_radius": "µm",
    "max_radius": "µm",
    "radius": "µm",
    "tol": "µm",
    "min_diffusivity": "µm²/s",
    "D0": "µm²/s",
    "V0": "kT",
    "diffusivity_time_prior": "s²",
    "max_runtime": "s",
    "bounds": "s",
    "start_time": "s",
}
PARTS = {
    "tesseller": "Tessellation",
    "time": "Time",
    "sampler": "Assignment to cells",
    "mapper": "Inference",
}
# of components as older versions have written them; texts, not parameters
HIDDEN = ("type", "lost", "takes_maps")
MOST = 120


def told(name: str, value: Any, owner: Mapping[str, Any] | None = None) -> str:
    """Return the value of a parameter, with its unit."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _short(_component(value))
    if isinstance(value, list):
        text = ", ".join(told("", v) for v in value) or "none"
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    unit = UNITS.get(name, "")
    if name in ("duration", "shift"):
        unit = "frames" if (owner or {}).get("frames") else "s"
    return _short(f"{text} {unit}" if unit and not isinstance(value, str) else text)


def _short(text: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def _component(value: Mapping[str, Any]) -> str:
    head = next((str(value[k]) for k in ("type", "function", "object", "callable") if k in value), "")
    rest = {
        k: v for k, v in value.items() if k not in (*HIDDEN, "code", "content", "state") and v is not None
    }
    inner = ", ".join(f"{k} = {told(k, v)}" for k, v in rest.items() if v != value.get(head))
    if not head:
        return inner
    return head if "function" in value or not inner else f"{head}({inner})"


def parameter_tables(parameters: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the parts of the parameters of a stage, each with rows of a name and a value.

    Those that are not set come last, in one row.
    """
    for name, title in PARTS.items():
        if name not in parameters:
            continue
        about = parameters[name]
        if not isinstance(about, Mapping) or "type" not in about:
            yield title, [("method", "none" if about is None else told(name, about))]
            continue
        rows = [("method", "none" if about["type"] == "Time" else str(about["type"]))]
        unset = []
        for key, value in about.items():
            if key in HIDDEN:
                continue
            if value is None:
                unset.append(key)
            else:
                rows.append((key, told(key, value, about)))
        if unset:
            rows.append(("at their defaults", ", ".join(unset)))
        yield title, rows
    others = [(k, told(k, v)) for k, v in parameters.items() if k not in (*PARTS, "algorithms")]
    if others:
        yield "General", others
