"""The picture at the top of the project's README, from the report of the quickstart.

In: the report's folder. Out: a PNG in which every column is a held-out caption: drawn by the base model, drawn with the LoRA, and as it is.

    python examples/quickstart/picture.py --report build/quickstart/out/report --out docs/quickstart.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

EDGE = 96
GAP = 12
LEFT = 118
TOP = 34
ROWS = (("base", "base model"), ("tuned", "with the LoRA"), ("true", "true drawing"))
THINGS = "alarm clock,bicycle,car,carrot,guitar,panda,penguin,soft ice cream"


def rows_of(document: dict[str, Any], things: list[str]) -> list[dict[str, Any]]:
    """The report's rows of these things, in their order."""
    found = {row["prompt"].rpartition(" of ")[2].removeprefix("a ").removeprefix("an "): row for row in document["images"] if "true" in row}
    return [found[thing] for thing in things]


def compose(report: Path, things: list[str]) -> Image.Image:
    """The sheet, black on white."""
    rows = rows_of(json.loads((report / "report.json").read_text("utf-8")), things)
    width, height = LEFT + len(rows) * (EDGE + GAP), TOP + len(ROWS) * (EDGE + GAP)
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for down, (which, label) in enumerate(ROWS):
        top = TOP + down * (EDGE + GAP)
        pen.text((LEFT - GAP, top + EDGE / 2), label, fill=(91, 98, 108), font=font, anchor="rm")
        for across, row in enumerate(rows):
            with Image.open(report / row[which]) as picture:
                sheet.paste(picture.convert("RGB").resize((EDGE, EDGE), Image.Resampling.LANCZOS), (LEFT + across * (EDGE + GAP), top))
    for across, thing in enumerate(things):
        pen.text((LEFT + across * (EDGE + GAP) + EDGE / 2, TOP / 2), thing, fill=(31, 35, 40), font=font, anchor="mm")
    return sheet


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=Path("build/quickstart/out/report"), help="folder with report.json")
    parser.add_argument("--out", type=Path, default=Path("docs/quickstart.png"), help="file to write")
    parser.add_argument("--things", default=THINGS, help="what the captions are of, with commas between")
    arguments = parser.parse_args()
    compose(arguments.report, arguments.things.split(",")).quantize(256).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
