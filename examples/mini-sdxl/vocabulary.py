"""CLIP's vocabulary of 49,408 tokens as SDXL's two tokenizer folders; read from open_clip's package data, without importing it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"


def read_merges(packages: Path) -> list[str]:
    """CLIP's 48,894 merges from the package data of open_clip below `packages`."""
    file = packages / "open_clip" / "bpe_simple_vocab_16e6.txt.gz"
    if not file.exists():
        raise SystemExit(f"{file} is missing: pip install --no-deps --target {packages} open_clip_torch==3.3.0")
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")
    return lines[1 : 49152 - 256 - 2 + 1]  # the first line is a version; the slice is open_clip's own


def write_tokenizers(model: Path, merges: Sequence[str]) -> None:
    """Both tokenizers of SDXL into `model`: the first pads with the end token, the second with "!" (id 0)."""
    for folder, pad in (("tokenizer", END), ("tokenizer_2", "!")):
        _write_tokenizer(model / folder, merges, pad=pad)


def _tokens(merges: Sequence[str]) -> list[str]:
    """All tokens in CLIP's order: bytes, bytes that end a word, merges, start, end."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(byte) for byte in printable] + [chr(256 + number) for number in range(256 - len(printable))]
    return [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(merge.split()) for merge in merges), START, END]


def _write_tokenizer(folder: Path, merges: Sequence[str], *, pad: str) -> None:
    def content(token: str) -> dict[str, Any]:
        return {"content": token, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    specials = {"bos_token": content(START), "eos_token": content(END), "pad_token": pad, "unk_token": content(END)}
    config = {
        **{name: {"__type": "AddedToken", **token} if isinstance(token, dict) else token for name, token in specials.items()},
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "tokenizer_class": "CLIPTokenizer",
    }
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate(_tokens(merges))}
    assert len(vocabulary) == 49408
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    for name, value in (("vocab.json", vocabulary), ("special_tokens_map.json", specials), ("tokenizer_config.json", config)):
        indent = None if name == "vocab.json" else 2
        (folder / name).write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
