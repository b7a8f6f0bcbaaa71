"""Real photographs with captions as file names, taken from the package data of scikit-image and scikit-learn.

In: the folder those wheels are unpacked in (nothing of them is imported). Out: a folder to train on and one that is held out.
Licences and sources stand in README.md beside this file.

    python -m tests.material.photographs --packages build/packages --out build/material
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

_SKIMAGE = "skimage/data"
_SKLEARN = "sklearn/datasets/images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One picture of the set."""

    source: str
    """File in the packages' data."""
    caption: str
    """What it shows; `_` takes the place of a space in the file's name."""
    folder: str = "photographs"
    """`photographs` is trained on, `heldout` is not."""
    box: tuple[int, int, int, int] | None = None
    """Left, top, right, bottom of a detail in pixels; the whole picture, byte for byte, without."""


PHOTOGRAPHS = (
    Photograph(
        source=f"{_SKIMAGE}/astronaut.png",
        caption="a photograph of a smiling astronaut in an orange space suit beside a flag and a model of a space shuttle",
    ),
    Photograph(source=f"{_SKIMAGE}/brick.png", caption="a grey photograph of a brick wall with light joints"),
    Photograph(
        source=f"{_SKIMAGE}/camera.png", caption="a black and white photograph of a man in a dark coat looking through a camera on a tripod"
    ),
    Photograph(source=f"{_SKIMAGE}/chelsea.png", caption="a photograph of the face of a tabby cat with green eyes"),
    Photograph(source=f"{_SKIMAGE}/clock_motion.png", caption="a grey photograph of a round wall clock blurred by a moving camera"),
    Photograph(source=f"{_SKIMAGE}/coffee.png", caption="a photograph of a cup of espresso on a red saucer with a spoon on a wooden table"),
    Photograph(source=f"{_SKIMAGE}/coins.png", caption="a black and white photograph of four rows of ancient greek coins"),
    Photograph(source=f"{_SKIMAGE}/grass.png", caption="a grey photograph of dry grass seen from above"),
    Photograph(
        source=f"{_SKIMAGE}/hubble_deep_field.jpg",
        caption="a photograph of many distant galaxies in a black sky taken by a space telescope",
    ),
    Photograph(
        source=f"{_SKIMAGE}/motorcycle_left.png",
        caption="a photograph of a red motorcycle in a garage in front of shelves and a wooden bench",
    ),
    Photograph(source=f"{_SKIMAGE}/page.png", caption="a grey photograph of a printed page of a manual"),
    Photograph(source=f"{_SKIMAGE}/retina.jpg", caption="a photograph of the red retina of a human eye on a black background"),
    Photograph(source=f"{_SKIMAGE}/rocket.jpg", caption="a photograph of a white rocket on its launch pad at dusk between four towers"),
    Photograph(source=f"{_SKIMAGE}/text.png", caption="a grey photograph of handwritten formulas on squared paper"),
    Photograph(source=f"{_SKLEARN}/china.jpg", caption="a photograph of a chinese pagoda above trees and a lake"),
    Photograph(source=f"{_SKLEARN}/flower.jpg", caption="a photograph of an orange dahlia before dark green leaves"),
    Photograph(
        source=f"{_SKLEARN}/china.jpg",
        caption="a photograph of the upper floors and green roofs of a chinese pagoda",
        box=(50, 10, 390, 350),
    ),
    Photograph(source=f"{_SKLEARN}/flower.jpg", caption="a close photograph of the petals of an orange dahlia", box=(145, 0, 465, 320)),
    Photograph(
        source=f"{_SKIMAGE}/motorcycle_left.png",
        caption="a photograph of the rear wheel and the saddle of a red motorcycle",
        box=(60, 130, 410, 480),
    ),
    Photograph(
        source=f"{_SKIMAGE}/hubble_deep_field.jpg",
        caption="a photograph of bright stars and small galaxies in a black sky",
        box=(500, 372, 1000, 872),
    ),
    Photograph(source=f"{_SKIMAGE}/gravel.png", caption="a grey photograph of gravel seen from above", folder="heldout"),
    Photograph(source=f"{_SKIMAGE}/moon.png", caption="a grey photograph of craters on the surface of the moon", folder="heldout"),
    Photograph(
        source=f"{_SKIMAGE}/motorcycle_right.png", caption="a photograph of a red motorcycle standing in a garage", folder="heldout"
    ),
)


def write(packages: Path, out: Path) -> int:
    """Make both folders below `out` anew; the number of pictures. Equal packages give equal bytes."""
    for folder in {photograph.folder for photograph in PHOTOGRAPHS}:
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)
    for photograph in PHOTOGRAPHS:
        source = packages / photograph.source
        name = photograph.caption.replace(" ", "_")
        if photograph.box is None:
            shutil.copyfile(source, out / photograph.folder / f"{name}{source.suffix}")
        else:
            with Image.open(source) as picture:
                picture.crop(photograph.box).save(out / photograph.folder / f"{name}.png")
    return len(PHOTOGRAPHS)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder that scikit-image and scikit-learn are installed in")
    parser.add_argument("--out", type=Path, required=True, help="folder that photographs/ and heldout/ are made in")
    arguments = parser.parse_args()
    print(f"{write(arguments.packages, arguments.out)} photographs in {arguments.out}")


if __name__ == "__main__":
    main()
