"""Token counts against transformers' own tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from kubetuner.errors import DataError
from kubetuner.ingest.core import tokens
from kubetuner.storage.memory import MemoryStore
from kubetuner.v1alpha1.training_run_pb2 import Model

_SIGNS = "abc dog cat the é Łß 12 !?'s  \n\t😀👍🏽日本 <|endoftext|> it's İ ﬁ e\u0301"


@pytest.mark.parametrize("files", [("vocab.json", "merges.txt"), ("tokenizer.json",)])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_counts_agree_with_transformers(tiny_sdxl: Path, tmp_path: Path, files: tuple[str, ...]) -> None:
    reference = CLIPTokenizer.from_pretrained(str(tiny_sdxl / "tokenizer"))
    (tmp_path / "tokenizer").mkdir()
    reference.save_pretrained(str(tmp_path / "all"))
    for name in files:
        here = tmp_path / "all" / name
        (tmp_path / "tokenizer" / name).write_bytes((here if here.is_file() else tiny_sdxl / "tokenizer" / name).read_bytes())
    draw = random.Random(0)
    captions = ["".join(draw.choices(_SIGNS, k=draw.randrange(60))) for _ in range(500)]
    counter = tokens.find(Model(path=str(tmp_path)), tmp_path)
    assert counter is not None
    assert counter.count(captions) == [len(ids) for ids in reference(captions).input_ids]


def test_a_vocabulary_in_the_store_counts_the_same(tiny_sdxl: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    for name in ("vocab.json", "merges.txt"):
        store.put(f"models/tiny/tokenizer/{name}", tiny_sdxl / "tokenizer" / name)
    here, there = tokens.find(Model(path=str(tiny_sdxl)), tmp_path), tokens.find(Model(path="store:models/tiny"), tmp_path, store)
    assert here is not None
    assert there is not None
    assert here.count(["a photograph of a cat"]) == there.count(["a photograph of a cat"])
    assert tokens.find(Model(path="store:models/none"), tmp_path, store) is None


def test_vocabulary_that_is_not_here_counts_nothing(tmp_path: Path) -> None:
    assert tokens.find(Model(path="nobody/no-such-model"), tmp_path) is None
    assert tokens.find(Model(path="./nowhere"), tmp_path) is None
    assert tokens.find(Model(path="model.safetensors", config="./nowhere"), tmp_path) is None


@pytest.mark.parametrize("content", [b"{", b"[]", json.dumps({"a": 1}).encode()])
def test_damaged_vocabulary_is_named(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "vocab.json").write_bytes(content)
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    with pytest.raises(DataError, match="tokenizer"):
        tokens.find(Model(path=str(tmp_path)), tmp_path)
