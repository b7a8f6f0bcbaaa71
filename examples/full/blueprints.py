"""A second style from the quickstart's line drawings: white lines on blue, with captions that say so.

In: `examples/quickstart/line-drawings`. Out: a folder with `train` and `heldout`. Equal drawings give equal bytes.

    python examples/full/blueprints.py --out build/full
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image, ImageOps

DRAWINGS = Path(__file__).parents[1] / "quickstart" / "line-drawings"
PAPER = (28, 78, 156)
INK = (240, 246, 255)
TRIGGER = {"lineart": "blueprint"}
"""The word for the style, in the captions of the line drawings and in ours."""


def write(drawings: Path, out: Path) -> int:
    """Make `out` again with a blueprint of each drawing; gives how many."""
    count = 0
    for part in ("train", "heldout"):
        shutil.rmtree(out / part, ignore_errors=True)
        (out / part).mkdir(parents=True)
        for path in sorted((drawings / part).glob("*.png")):
            with Image.open(path) as picture:
                ImageOps.colorize(picture.convert("L"), black=INK, white=PAPER).save(out / part / path.name, optimize=True)
            caption = path.with_suffix(".txt").read_text("utf-8")
            for old, new in TRIGGER.items():
                assert old in caption, f"{path.name}: its caption does not name the style"
                caption = caption.replace(old, new)
            (out / part / path.name).with_suffix(".txt").write_text(caption, "utf-8")
            count += 1
    return count


def main() -> None:
    """Make the blueprints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawings", type=Path, default=DRAWINGS, help="folder with train/ and heldout/")
    parser.add_argument("--out", type=Path, required=True, help="folder that train/ and heldout/ are made in")
    arguments = parser.parse_args()
    print(f"{write(arguments.drawings, arguments.out)} blueprints in {arguments.out}")


if __name__ == "__main__":
    main()
