"""A page that plays pictures: everything is in it, and its controls can be used by mouse and keyboard."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Sequence

__all__ = ["page", "player"]

STYLE = """\
.tramway-movie { display: inline-block; margin: 0; max-width: 100%; font: 14px/1.4 system-ui, sans-serif; }
.tramway-movie img { display: block; max-width: 100%; height: auto; background: white; }
.tramway-movie div { display: flex; gap: .5em; align-items: center; flex-wrap: wrap; padding: .4em 0; }
.tramway-movie button { min-width: 5.5em; padding: .3em .6em; color: #1a1a1a; background: #f0f0f0;
  border: 1px solid #767676; border-radius: 4px; font: inherit; }
.tramway-movie button:focus-visible, .tramway-movie input:focus-visible { outline: 3px solid #0072b2;
  outline-offset: 2px; }
.tramway-movie input { flex: 1; min-width: 8em; }
"""
# numbers and texts are handed over as JSON; no name of this script is global
SCRIPT = """\
(function () {
  const box = document.getElementById(ID), pictures = PICTURES, told = TOLD;
  const image = box.querySelector("img"), slider = box.querySelector("input");
  const toggle = box.querySelector(".toggle"), words = box.querySelector("output");
  let now = 0, timer = null;
  function show(k) {
    now = (k + pictures.length) % pictures.length;
    image.src = "data:image/png;base64," + pictures[now];
    image.alt = told[now];
    slider.value = now;
    slider.setAttribute("aria-valuetext", told[now]);
    words.textContent = (now + 1) + " / " + pictures.length;
  }
  function stop() { clearInterval(timer); timer = null; toggle.textContent = "Play"; }
  function play() {
    if (now === pictures.length - 1) show(0);
    toggle.textContent = "Pause";
    timer = setInterval(function () {
      if (!box.isConnected || (!REPEAT && now === pictures.length - 1)) { stop(); return; }
      show(now + 1);
    }, STEP);
  }
  toggle.addEventListener("click", function () { if (timer) stop(); else play(); });
  box.querySelector(".back").addEventListener("click", function () { stop(); show(now - 1); });
  box.querySelector(".next").addEventListener("click", function () { stop(); show(now + 1); });
  slider.addEventListener("input", function () { stop(); show(Number(slider.value)); });
  show(0);
  if (pictures.length > 1 && !window.matchMedia("(prefers-reduced-motion: reduce)").matches) play();
})();
"""


def player(pictures: Sequence[str], told: Sequence[str], *, fps: float, repeat: bool = True) -> str:
    """Return HTML that shows pictures one after the other.

    Parameters
    ----------
    pictures : sequence of str
        PNG, in base64.
    told : sequence of str
        What each shows: text alternatives.
    fps : float
        Pictures per second.
    repeat : bool
        Start anew at the end.
    """
    digest = hashlib.sha256("".join(pictures).encode()).hexdigest()[:16]
    name = f"tramway-movie-{digest}"
    script = SCRIPT
    values = {
        "ID": json.dumps(name),
        "REPEAT": json.dumps(bool(repeat)),
        "STEP": json.dumps(max(1000 / max(fps, 1e-3), 20)),
        "TOLD": _in_script(list(told)),
        "PICTURES": json.dumps(list(pictures)),
    }
    for key, value in values.items():
        script = script.replace(key, value, 1)
    first = html.escape(told[0] if told else "", quote=True)
    return (
        f'<figure class="tramway-movie" id="{name}">\n<style>\n{STYLE}</style>\n'
        f'<img src="data:image/png;base64,{pictures[0] if pictures else ""}" alt="{first}">\n'
        '<div role="group" aria-label="Movie"><button type="button" class="toggle">Play</button>'
        '<button type="button" class="back">Back</button><button type="button" class="next">Next</button>'
        f'<input type="range" min="0" max="{max(len(pictures) - 1, 0)}" value="0" aria-label="Picture">'
        f"<output>1 / {len(pictures)}</output></div>\n<script>\n{script}</script>\n</figure>\n"
    )


def page(body: str, title: str) -> str:
    """Return a whole page around HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>body {{ margin: 1em; }}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _in_script(value: object) -> str:
    # no text of users may end the script
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
