"""Makes the figure of the first page, from what `tramway-dask demo` has drawn.

tramway-dask demo --folder tramway-demo
python .docs/figure.py tramway-demo/pictures/cell1.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

WIDTH = 1120
LARGEST = 150_000


def main(picture: str) -> None:
    """Write the figure, small enough for a page that is read often."""
    with Image.open(picture) as opened:
        size = (WIDTH, round(opened.height * WIDTH / opened.width))
        small = (
            opened.convert("RGB")
            .resize(size, Image.Resampling.LANCZOS)
            .quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        )
    path = Path(__file__).parent / "_static" / "first.png"
    small.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        sys.exit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}")


if __name__ == "__main__":
    main(*sys.argv[1:])
