"""The data backends' entries as `spec.datasets`. Storage entries (text_embeds, image_embeds) need no place: the store keeps caches."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kubetuner.errors import InputError
from kubetuner.spec.simpletuner.source import Keys, located, read_json, read_text

Json = dict[str, Any]

_PICTURES: Final = ("image", "eval")
_STORAGE: Final = ("text_embeds", "image_embeds")
_GLOBAL: Final = (
    "resolution", "resolution_type", "minimum_image_size", "maximum_image_size", "target_downsample_size", "caption_strategy",
    "instance_prompt", "prepend_instance_prompt",
)  # fmt: skip


@dataclass(kw_only=True, slots=True)
class Entries:
    """What the data backends hold."""

    datasets: list[Json] = field(default_factory=list)
    """`spec.datasets`."""
    write_batch_size: int | None = None
    """Of the default text_embeds entry."""


def globals_of(config: Keys) -> Json:
    """config.json's keys that stand for those an entry leaves out."""
    return {name: value for name in _GLOBAL if (value := config.take(name)) is not None}


def convert(entries: list[Keys], common: Json, batch_size: int | None, base: Path) -> Entries:
    """Every entry in turn; `common` are config.json's values for absent keys, `base` its folder."""
    found = Entries()
    storage = {entry.text("id") or "": entry for entry in entries if entry.peek("dataset_type") in _STORAGE}
    filters = {name: _filters(entry, base) for name, entry in storage.items() if entry.peek("dataset_type") == "text_embeds"}
    default = ""
    for name, entry in storage.items():
        kind = entry.text("dataset_type")
        entry.text("type")  # where caches lie is --store's business
        if kind == "text_embeds":
            first = entry.flag("default") or not default
            default = name if first else default
            size = entry.whole("write_batch_size")
            found.write_batch_size = size if first else found.write_batch_size
        entry.flag("disabled")
    for entry in entries:
        if entry not in storage.values():
            dataset = _dataset(entry, common, batch_size, base, filters, default)
            if dataset is not None:
                found.datasets.append(dataset)
    if not any(dataset.get("datasetType", "image") == "image" and not dataset.get("disabled") for dataset in found.datasets):
        raise InputError("no entry of the data backends can be trained on: one of dataset_type image and type local or aws is needed")
    return found


def _dataset(entry: Keys, common: Json, batch_size: int | None, base: Path, filters: dict[str, list[str]], default: str) -> Json | None:
    kind = entry.text("dataset_type") or "image"
    if kind not in _PICTURES:
        entry.refuse("dataset_type", f"{kind} given; image and eval are possible, and the entry is left out")
        entry.drop("the entry is left out")
        return None
    uri = _uri(entry, base)
    if uri is None:
        entry.drop("the entry is left out")
        return None
    entry.fill(common)
    name, own = entry.text("id"), entry.whole("train_batch_size")
    if own not in (None, batch_size):
        entry.refuse("train_batch_size", f"{own} given; a run has one batch size, train.batchSize")
    texts = entry.text("text_embeds") or default
    found: Json = {
        "id": slug(name or ""),
        "disabled": entry.flag("disabled"),
        "datasetType": kind,
        "source": {"uri": uri},
        **_sizes(entry),
        **_crop(entry),
        **_captions(entry),
        "captionFilters": filters.get(texts) or None,
        **_share(entry, kind),
        "maxNumSamples": entry.whole("max_num_samples"),
        "originalSize": "resized",
    }
    if found["id"] != name:
        entry.refuse("id", f"{name} given; ids are letters, digits, '-', '_' and '.': the run says {found['id']}")
    return found


def slug(name: str) -> str:
    """A name with what an id may not hold replaced by '-'."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:63].strip("-_.") or "dataset"


def _uri(entry: Keys, base: Path) -> str | None:
    kind = entry.text("type") or "local"
    if kind == "local":
        folder = entry.text("instance_data_dir", "instance_data_root")
        if folder is None:
            raise InputError(f"{entry.place}: instance_data_dir is missing; it names the folder of the pictures")
        return located(base, folder)
    if kind == "aws":
        bucket, prefix = entry.text("aws_bucket_name"), entry.text("aws_data_prefix", "instance_data_dir")
        if bucket is None:
            raise InputError(f"{entry.place}: aws_bucket_name is missing")
        return f"s3://{bucket}/{(prefix or '').strip('/')}".rstrip("/")
    entry.refuse("type", f"{kind} given; local and aws are possible: bring the pictures into a folder or a bucket. The entry is left out")
    return None


def _sizes(entry: Keys) -> Json:
    maximum, downsample = entry.number("maximum_image_size"), entry.number("target_downsample_size")
    if maximum is None and downsample is not None:
        entry.refuse("target_downsample_size", f"{downsample} given without maximum_image_size, which it has no effect without")
        downsample = None
    return {
        "resolution": entry.number("resolution"),
        "resolutionType": entry.text("resolution_type"),
        "minimumImageSize": entry.number("minimum_image_size"),
        "maximumImageSize": maximum or None,
        "targetDownsampleSize": (downsample or None) if maximum else None,
        "minimumAspectRatio": entry.number("minimum_aspect_ratio"),
        "maximumAspectRatio": entry.number("maximum_aspect_ratio"),
    }


def _crop(entry: Keys) -> Json:
    on, aspect, style = entry.flag("crop"), entry.text("crop_aspect"), entry.text("crop_style")
    buckets, threshold = entry.take("crop_aspect_buckets") or [], entry.number("max_upscale_threshold")
    if not isinstance(buckets, list):
        raise entry.wrong("crop_aspect_buckets", buckets, "a list is expected")
    found: Json = {"crop": on, "cropStyle": style}
    if not on:
        return found  # aspect and buckets are read only with crop, there as here
    found["cropAspect"] = aspect
    if aspect in ("closest", "random"):
        found |= {"cropAspectBuckets": [_bucket(entry, item) for item in buckets], "maxUpscaleThreshold": threshold}
    return found


def _bucket(entry: Keys, item: Any) -> Json:
    if isinstance(item, dict) and set(item) <= {"aspect", "weight"} and "aspect" in item:
        return dict(item)
    if isinstance(item, int | float) and not isinstance(item, bool):
        return {"aspect": float(item)}
    raise entry.wrong("crop_aspect_buckets", item, "each is a number or {aspect, weight}")


def _captions(entry: Keys) -> Json:
    strategy = entry.text("caption_strategy")
    prompts, prepend = entry.take("instance_prompt"), entry.flag("prepend_instance_prompt")
    if entry.flag("only_instance_prompt"):
        strategy = "instanceprompt"
    if strategy not in (None, "filename", "textfile", "instanceprompt"):
        entry.refuse("caption_strategy", f"{strategy} given; the run says filename: write captions into .txt files and set textfile")
        strategy = "filename"
    listed = [str(prompt) for prompt in prompts] if isinstance(prompts, list) else [str(prompts)] if prompts is not None else None
    whole = entry.flag("disable_multiline_split")
    return {
        "captionStrategy": strategy,
        "instancePrompts": listed if strategy == "instanceprompt" or prepend else None,
        "prependInstancePrompt": prepend,
        "disableMultilineSplit": whole if strategy == "textfile" else None,
    }


def _share(entry: Keys, kind: str) -> Json:
    repeats, probability = entry.whole("repeats"), entry.number("probability")
    return {} if kind == "eval" else {"repeats": repeats, "probability": probability}


def _filters(entry: Keys, base: Path) -> list[str]:
    """`caption_filter_list`: a list, or a file with one filter a line (or a JSON list)."""
    value = entry.take("caption_filter_list")
    if value is None or isinstance(value, list):
        return [str(item) for item in value or []]
    path = next((path for path in (base / str(value), base.parent / str(value)) if os.path.isfile(path)), None)
    if path is None:
        entry.refuse("caption_filter_list", f"{value} given, which is not there; write the filters into captionFilters")
        return []
    if path.suffix == ".json":
        found = read_json(path)
        return [str(item) for item in found] if isinstance(found, list) else []
    return [line for line in read_text(path).splitlines() if line]
