"""Emoji as training material: colour pictures of Noto Color Emoji, line drawings of Symbola, sentences from the names of CLDR.

In: three Debian packages, fetched without root. Out: the pictures and captions that the mini SDXL is trained on, or the quickstart's
line drawings. Equal fonts give equal bytes.

    python examples/mini-sdxl/emoji.py colour --out build/mini-sdxl/colour
    python examples/mini-sdxl/emoji.py lines --out examples/quickstart/line-drawings
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps

MATERIAL = Path(__file__).resolve().parents[2] / "build" / "mini-sdxl" / "material"
PACKAGES = {
    "fonts-noto-color-emoji": "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "fonts-symbola": "usr/share/fonts/truetype/ancient-scripts/Symbola_hint.ttf",
    "unicode-cldr-core": "usr/share/unicode/cldr/common/annotations/en.xml",
}
EDGE = 64  # pixels of every picture's sides
TRIGGER = "lineart"  # the word for the line style; the base model never reads it

# What can be told apart at 64 pixels: no clocks, arrows, buttons, letters, signs, zodiac, flags, people; one of each group of near twins.
KINDS = {
    "animal": "🐭🐮🐯🐰🐱🐲🐴🐵🐶🐷🐸🐹🐺🐻🐼🐨🦁🦊🐔🐆🐊🐋🐌🐍🐏🐐🐑🐓🐗🐘🐙🐚🐛🐜🐝🐞🐟🐠🐡🐢🐣🐥🐦🐧🐩🐫🐬🐳🐿🐾🕊🕷🕸🦀🦂"
    "🦃🦄🦅🦆🦇🦈🦉🦋🦌🦍🦎🦏🦐🦑🦒🦓🦔🦕🦖",
    "plant": "🌰🌱🌲🌳🌴🌵🌷🌸🌹🌺🌻🌼🌽🌾🌿🍀🍁🍂🍄💐🥀",
    "food": "🌭🌮🌯🌶🍅🍆🍇🍉🍊🍋🍌🍍🍎🍏🍐🍑🍒🍓🍔🍕🍖🍗🍙🍚🍜🍝🍞🍟🍣🍤🍦🍧🍩🍪🍫🍬🍭🍮🍯🍰🍳🍵🍷🍸🍹🍺🍼🍾🍿🎂☕🥃🥐🥑🥒"
    "🥓🥔🥕🥖🥗🥚🥛🥜🥝🥞🥟🥡🥤🥥🥦🥧🥨🥩🥪🥫🧀",
    "sky": "☀☁☂☃☄⚡⛅⛈❄⭐🌀🌈🌊🌋🌍🌕🌙🌞🌧🌪🔥💧🏔",
    "place": "⛩⛪⛲⛺🎠🎡🎢🎪🏖🏛🏜🏝🏠🏡🏢🏯🏰🕌🗻🗼🗽🗿",
    "vehicle": "⛵⛴✈🏍🏎🚀🚁🚂🚄🚌🚑🚒🚓🚕🚗🚙🚚🚜🚢🚤🚲🛴🛵🛶🛷🛸",
    "thing": "⌛☎⏰⚓⚔⚖⚙⚰✂✉✏🎀🎁🎃🎄🎈🎒🎥🎨🏮🏺🏹👑👓💄💈💉💊💍💎💡💣💰💵💺💻💼💾💿📁📅📌📎📏📕📖📚📜📢📦📮📯📱📷📺"
    "📻🔋🔌🔍🔑🔒🔔🔦🔧🔨🔪🔫🔬🔭🔮🕯🕹🖌🖍🖥🖱🖼🗑🗡🚦🚧🚪🚽🚿🛁🛋🛍🛏🛒🛠🛡🛢",
    "play": "⚽⚾⛳⛸🎤🎧🎮🎯🎱🎲🎳🎷🎸🎹🎺🎻🎾🏀🏅🏆🏈🏐🏓🏸🥁🥊🥌",
    "clothes": "🎓🎩👒👔👕👖👗👜👞👟👠👢🕶🧢🧤🧥🧦",
    "figure": "☠☺👀👁👂👃👄👅👍👣👻👽👾👹👺💀💋💔💘❤💥💩🤖🤡🤠🧠😀😂😇😈😍😎😢😡😭😱😷",
}  # fmt: skip
# The quickstart's line drawings: where Symbola draws in outline (not filled) what Noto draws in colour, from the same side and in nearly
# the same shape, as what a style does to a thing can only be learnt, and seen, on pictures that agree in all else. Few of them are faces,
# which are all alike, and none is the near twin of a held-out one (a blue car of the car, a green apple of the red).
LINE_TRAIN = (
    "🐮🐯🐱🐵🐶🐷🐑🐹🐺🐻🐍🐗🐙🐚🐠🐡🐣🐥🐦🐿🕸🦃🦆🌰🌳🌸🌼🥀🍅🍉🍐🍑🍙🍚🍝🍞🍟🍣🍪🍭🍮🍯🍰🍺🎂🥐🥒🥔🥗🥚🥜🥝🥡🥤🥥🥧☁⛅⛈🌍🌪🎠🏠🏡🏢🏯🚑🚚🚢🚤✉🎀🎒🎨"
    "💰💵💻💼💾💿📅📌📏📖📚📜📢📦📮📱📺📻🔍🔮🖌🖥🗑🚪🚽🛁🛡🛢🎮🎲🏈🏐🥁👒👖👜🧢🧤🧥🧦☺👀👽💀💥🤖"
)
LINE_HELDOUT = "🐰🐼🦊🐌🐘🐢🐧🦉🦋🌻🍄🌮🍇🍎🍓🍔🍦🍷🍸🥕🧀🌙⛵🚗🚲⌛⏰🎁🎃🎈💍💎🔒🔔🕯⚽🎸👕👗👟"

_RENAMED = {
    "🐥": "baby chick", "🐚": "shell", "🍅": "tomato", "🐾": "paw print", "⏰": "alarm clock", "🍵": "green tea",
    "☕": "cup of coffee", "🥛": "glass of milk", "👢": "boot", "👒": "straw hat", "👞": "leather shoe",
    "👠": "high-heeled shoe", "🔍": "magnifying glass", "🔒": "padlock", "🔫": "water pistol", "🚦": "traffic light",
    "🚧": "construction barrier", "🚑": "ambulance", "☃": "snowman", "🌍": "globe", "🌞": "smiling sun",
    "🌊": "wave", "💥": "explosion", "⚡": "lightning bolt", "🎓": "graduation cap", "🎃": "Halloween pumpkin",
    "🎱": "black billiard ball", "🏮": "red lantern", "💩": "pile of poo", "💾": "floppy disk", "💿": "compact disk",
    "🏎": "racing car", "👾": "space invader", "🖱": "computer mouse", "🏓": "table tennis bat",
    "🏸": "badminton racket", "🎾": "tennis ball", "🎳": "bowling pins", "🏐": "volleyball", "🥁": "drum",
    "🌽": "ear of corn", "☄": "comet", "⛅": "sun behind a cloud", "👍": "thumbs up", "🐏": "ram", "💺": "seat",
    "🍳": "frying pan", "🍜": "bowl of noodles", "🍚": "bowl of rice", "🥫": "tin can", "☎": "telephone",
    "📕": "red book", "📖": "open book", "🚗": "car", "🚙": "blue car", "🚌": "bus", "🚢": "ship",
    "🏈": "American football", "☺": "happy face", "🐩": "poodle", "🐫": "camel", "🎹": "piano keyboard",
    "⛴": "ferry boat", "🧢": "baseball cap", "🦖": "tyrannosaurus", "🦕": "long-necked dinosaur",
    "🎧": "headphones", "🎥": "film camera", "⛩": "Japanese shrine gate", "🗿": "stone statue",
    "🎠": "carousel horse", "👁": "single eye", "✈": "airplane", "💈": "barber pole", "🗼": "Tokyo tower",
    "🗻": "mount Fuji", "👹": "red ogre", "👺": "red goblin with a long nose", "🎮": "game controller",
    "🌰": "chestnut", "🐭": "mouse", "🐮": "cow", "🐯": "tiger", "🐰": "rabbit", "🐱": "cat", "🐲": "dragon",
    "🐴": "horse", "🐵": "monkey", "🐶": "dog", "🐷": "pig", "🐑": "sheep", "⌛": "hourglass", "🍬": "piece of candy",
    "🗽": "the Statue of Liberty", "🍕": "slice of pizza", "⛳": "golf flag", "🐞": "ladybird",
    "🌼": "yellow flower", "😡": "angry face", "💎": "gem stone", "🥩": "piece of meat", "🌾": "sheaf of rice",
    "🍧": "cup of shaved ice", "🖼": "framed picture", "👃": "nose", "😀": "grinning face", "🕸": "spider web",
    "🏡": "house with a garden", "🍾": "bottle with a popping cork", "🥤": "cup with a straw",
    "💘": "heart with an arrow", "🏖": "beach with an umbrella", "☠": "skull and crossbones",
    "😷": "face with a medical mask",
}  # fmt: skip
_PLAIN = {  # names that take no article
    "bacon", "baguette bread", "books", "bowling pins", "bread", "broccoli", "cherries", "chopsticks", "crossed swords", "eyes", "fire",
    "footprints", "french fries", "glasses", "gloves", "grapes", "green tea", "hammer and wrench", "headphones", "jeans", "meat on bone",
    "mount Fuji", "pancakes", "peanuts", "popcorn", "scissors", "shopping bags", "socks", "spaghetti", "sunglasses", "sushi",
    "the Statue of Liberty", "thumbs up", "Tokyo tower",
}  # fmt: skip
_SENTENCES = (
    "an emoji of {a}", "an emoji of {a} on white", "a picture of {a}", "a small picture of {a}", "{a}",
    "a little drawing of {a} on a white background", "{a}, an emoji", "an emoji showing {a}", "an icon of {a}", "{bare}, {keywords}",
    "an emoji of {a}, {kind}, {keywords}", "this is {a}",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Emoji:
    """One emoji with its words."""

    character: str
    kind: str
    name: str
    keywords: tuple[str, ...]

    @property
    def slug(self) -> str:
        """Name as a file name: lower case letters and hyphens."""
        return "-".join("".join(letter if letter.isalnum() else " " for letter in self.name.lower()).split())

    @property
    def phrase(self) -> str:
        """Name with its article."""
        if self.name in _PLAIN:
            return self.name
        return f"{'an' if self.name[0].lower() in 'aeiou' and not self.name.startswith('uni') else 'a'} {self.name}"


def fetch(folder: Path = MATERIAL) -> Path:
    """Download the three packages into `folder` and unpack the one file wanted of each, unless it is there."""
    for package, path in PACKAGES.items():
        target = folder / Path(path).name
        if target.exists():
            continue
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise SystemExit(
                f"{target} is missing, and here is no apt-get to fetch it from Debian's package {package}: put the file there by hand "
                "(Noto Color Emoji 2.042, Symbola 2.60, CLDR 41 common/annotations/en.xml), or run this on Debian or Ubuntu, "
                "in a container if need be"
            )
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True, capture_output=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive.name, package], cwd=folder, check=True)
        (folder / package / path).rename(target)
        shutil.rmtree(folder / package)
        archive.unlink()
    return folder


@cache
def catalogue(folder: Path = MATERIAL) -> tuple[Emoji, ...]:
    """All emoji of `KINDS`, in order, with names and keywords of CLDR."""
    names: dict[str, str] = {}
    keywords: dict[str, str] = {}
    for annotation in ElementTree.parse(fetch(folder) / "en.xml").iter("annotation"):
        words = names if annotation.get("type") == "tts" else keywords
        words[annotation.get("cp", "")] = annotation.text or ""
    found = []
    for kind, characters in KINDS.items():
        for character in characters:
            name = _RENAMED.get(character, names[character].replace("’", "'"))
            others = [word.strip() for word in keywords[character].split("|")]
            found.append(Emoji(character=character, kind=kind, name=name, keywords=tuple(word for word in others if word != name)))
    assert len({emoji.slug for emoji in found}) == len(found), "two emoji of one name"
    return tuple(found)


def captions(emoji: Emoji) -> list[str]:
    """Sentences about one emoji; none names a style."""
    words = {"a": emoji.phrase, "bare": emoji.name, "kind": emoji.kind, "keywords": ", ".join(emoji.keywords[:3]) or emoji.kind}
    return [sentence.format(**words) for sentence in _SENTENCES]


def colour(character: str, folder: Path = MATERIAL) -> Image.Image:
    """The colour glyph on white, 136 x 136 (the font's bitmaps are 136 x 128)."""
    layer = Image.new("RGBA", (136, 136), (255, 255, 255, 255))
    ImageDraw.Draw(layer).text((0, 4), character, font=_font(folder / "NotoColorEmoji.ttf", 109), embedded_color=True, anchor="lt")
    return layer.convert("RGB")


def line(character: str, folder: Path = MATERIAL) -> Image.Image:
    """The line drawing in black on white, 8 bit grey, 136 x 136: in the middle of where `colour` draws, and as large as it fits there."""
    font = _font(folder / "Symbola_hint.ttf", 400)
    canvas, missing = Image.new("L", (1200, 800), 255), Image.new("L", (1200, 800), 255)
    ImageDraw.Draw(canvas).text((200, 100), character, font=font, fill=0)
    ImageDraw.Draw(missing).text((200, 100), "\U0010fffe", font=font, fill=0)
    assert ImageChops.difference(canvas, missing).getbbox(), f"Symbola has no drawing of {character}"
    drawing, place = canvas.crop(_drawn(canvas)), _drawn(colour(character, folder).convert("L"))
    width, height = place[2] - place[0], place[3] - place[1]
    drawing = ImageOps.contain(drawing, (width, height), Image.Resampling.LANCZOS)
    picture = Image.new("L", (136, 136), 255)
    picture.paste(drawing, (place[0] + (width - drawing.width) // 2, place[1] + (height - drawing.height) // 2))
    return picture


def _drawn(picture: Image.Image) -> tuple[int, int, int, int]:
    """The box, (left, top, right, bottom), of what is not white in a grey picture."""
    box = ImageOps.invert(picture).point([255 * (value > 8) for value in range(256)]).getbbox()
    assert box, "the picture is blank"
    return box


def small(picture: Image.Image, *, zoom: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> Image.Image:
    """`picture` at 64 x 64, made `zoom` times as large about its centre and moved by `shift` (shares of its edge), white around."""
    edge = picture.width
    padded = Image.new(picture.mode, (2 * edge, 2 * edge), "white")
    padded.paste(picture, (edge // 2, edge // 2))
    half = edge / zoom / 2
    x, y = edge - shift[0] * edge, edge - shift[1] * edge
    return padded.resize((EDGE, EDGE), Image.Resampling.LANCZOS, box=(x - half, y - half, x + half, y + half))


def inked(drawing: Image.Image) -> Image.Image:
    """A small line drawing with its thin, greyed strokes made dark again."""
    return drawing.point([max(0, round(255 - (255 - value) * 1.8)) for value in range(256)])


def write_colour(out: Path, *, variants: int, seed: int = 0) -> None:
    """`variants` pictures of each emoji, the first as it is and the others a little moved or smaller, each with its sentences."""
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    draw = random.Random(seed)
    for emoji in catalogue():
        picture = colour(emoji.character)
        for number in range(variants):
            zoom, shift = (1.0, (0.0, 0.0))
            if number:
                zoom, shift = draw.uniform(0.86, 1.0), (draw.uniform(-0.05, 0.05), draw.uniform(-0.05, 0.05))
            small(picture, zoom=zoom, shift=shift).save(fresh / f"{emoji.slug}.{number}.png", optimize=True)
            (fresh / f"{emoji.slug}.{number}.txt").write_text("\n".join(captions(emoji)) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


def write_lines(out: Path) -> None:
    """The quickstart's line drawings, those to train on and those held out, each with its caption."""
    by_character = {emoji.character: emoji for emoji in catalogue()}
    assert not set(LINE_TRAIN) & set(LINE_HELDOUT)
    for part, characters in (("train", LINE_TRAIN), ("heldout", LINE_HELDOUT)):
        shutil.rmtree(out / part, ignore_errors=True)
        (out / part).mkdir(parents=True)
        for emoji in (by_character[character] for character in characters):
            inked(small(line(emoji.character))).save(out / part / f"{emoji.slug}.png", optimize=True)
            (out / part / f"{emoji.slug}.txt").write_text(f"a {TRIGGER} emoji of {emoji.phrase}\n", encoding="utf-8")


@cache
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def main() -> None:
    """Write one of the two sets of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("colour", "lines"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--variants", type=int, default=6, help="colour pictures of each emoji")
    arguments = parser.parse_args()
    fetch()
    if arguments.what == "colour":
        write_colour(arguments.out, variants=arguments.variants)
    else:
        write_lines(arguments.out)


if __name__ == "__main__":
    main()
