"""The report page: one HTML file that works offline, on a phone, in light and dark.

In: a finished report and the resolved run. Out: the page's text. Everything that a user wrote is escaped; the page asks for nothing from
the network and says so in its own policy.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from kubetuner.artifacts.objects import Json
from kubetuner.artifacts.report import Report
from kubetuner.evaluate.core.charts import Chart, Series, line_chart, smooth
from kubetuner.evaluate.core.compare import SMALL, cells, figures, is_small, strengths
from kubetuner.evaluate.core.verdict import percent, verdict
from kubetuner.spec.resolve import to_yaml
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

_TEMPLATE: Final = "page.html.j2"
_QUALITY: Final = 90
REASONS: Final = {
    "too_small": "too small",
    "aspect_out_of_range": "aspect out of range",
    "unreadable": "unreadable",
    "too_many_pixels": "too many pixels",
    "caption_missing": "no caption",
    "not_sampled": "beyond the number asked for",
    "duplicate": "the same picture twice",
}
"""Reasons in words; one that is not here is shown as its code without underscores."""


def render(report: Report, run: TrainingRun) -> str:
    """The page of a report for a run."""
    found = report.document
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["data_uri"] = lambda name: data_uri(report.image(name))
    training = found["training"]
    shots = [shot | {"cells": cells(shot, full=training["type"] == "full"), "small": is_small(shot)} for shot in found["images"]]
    return environment.get_template(_TEMPLATE).render(
        name=run.metadata.name,
        summary=" · ".join(_summary(found, run)),
        notice=found["notice"],
        verdict=verdict(found["evaluation"]),
        evaluation=found["evaluation"],
        prompts=list(_by_prompt(shots)),
        compared=[shot for shot in shots if "true" in shot],
        negative=shots[0]["negativePrompt"] if shots else "",
        strengths=strengths(found["images"]),
        measures=figures(found.get("measures")),
        sheet=found.get("contactSheet", []),
        sampling=found["sampling"],
        curve=_curve(training["curve"]),
        rate=_rate(training["curve"]),
        timesteps=_timesteps(found["evaluation"]),
        rows=_rows(found["evaluation"]),
        datasets=[_dataset(row) for row in found["datasets"]],
        full=training["type"] == "full",
        base_model=run.spec.model.path or f"stabilityai/stable-diffusion-xl-{run.spec.model.flavour}",
        artifacts={noun: found["artifacts"][noun] for noun in ("manifest", "cache", "checkpoint")} | {"report": report.ref.fingerprint},
        model=found["model"],
        versions=found["versions"],
        exports=report.index["exports"],
        yaml=to_yaml(run),
    )


def data_uri(png: bytes) -> str:
    """An image inside the page: WebP, a tenth of the PNG's bytes; a small one without loss, since it is shown enlarged."""
    data, picture = io.BytesIO(), Image.open(io.BytesIO(png))
    picture.save(data, "WEBP", quality=_QUALITY, lossless=max(picture.size) <= SMALL)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def _summary(found: Json, run: TrainingRun) -> Iterator[str]:
    training = found["training"]
    if training["adapter"]:
        yield f"SDXL LoRA of rank {training['adapter']['rank']}"
    else:
        yield "all weights of SDXL's U-Net"
    yield f"{training['steps']:,} steps"
    pictures = sum(row["used"] for row in found["datasets"] if row["kind"] == "image")
    yield f"{pictures:,} picture{'' if pictures == 1 else 's'}"
    yield f"learning rate {run.spec.train.optimizer.learning_rate:g}"
    if training["predictionType"] == "v_prediction":
        yield "v-prediction"


def _by_prompt(shots: list[Json]) -> Iterator[tuple[str, list[Json]]]:
    """The run's own prompts; captions of held-out pictures are shown beside these."""
    for prompt, group in groupby((shot for shot in shots if "true" not in shot), key=lambda shot: shot["prompt"]):
        yield prompt, list(group)


def _curve(curve: list[Json]) -> Chart:
    steps, losses = [row["step"] for row in curve], [row["loss"] for row in curve]
    lines = [Series(name="each step", kind="faint", values=losses)]
    if len(losses) >= 20:
        width = max(5, len(losses) // 20)
        lines.append(Series(name=f"mean of {width}", kind="tuned", values=smooth(losses, width)))
    else:
        lines = [Series(name="loss", kind="tuned", values=losses)]
    return line_chart("Training loss", "step", steps, lines)


def _rate(curve: list[Json]) -> Chart:
    rates = [row["learningRate"] for row in curve]
    return line_chart(
        "Learning rate", "step", [row["step"] for row in curve], [Series(name="learning rate", kind="rate", values=rates)], number=".3g"
    )


def _timesteps(evaluation: Json) -> Chart | None:
    measured = evaluation["rankedBy"]
    if measured is None:
        return None
    shown = [evaluation["models"][0], next(row for row in evaluation["models"] if row["step"] == evaluation["best"])]
    lines = [
        Series(name=_model_name(row), kind=kind, values=row[measured]["perTimestep"])
        for row, kind in zip(shown, ("base", "tuned"), strict=True)
    ]
    return line_chart("Loss at each timestep", "timestep", evaluation["timesteps"], lines, marks=True)


def _rows(evaluation: Json) -> list[dict[str, Any]]:
    base = evaluation["models"][0]
    rows = []
    for model in evaluation["models"]:
        cells = {}
        for measured in ("heldOut", "training"):
            score = model[measured]
            change = (
                "" if score is None or model is base or not base[measured]["mean"] else percent(score["mean"] / base[measured]["mean"] - 1)
            )
            cells[measured] = (
                None
                if score is None
                else {"loss": f"{score['mean']:.4f}", "change": change, "tone": {"−": "good", "+": "bad"}.get(change[:1], "quiet")}
            )
        rows.append(
            {
                "name": _model_name(model),
                "best": model["step"] is not None and model["step"] == evaluation["best"],
                **cells,
                "improved": model["improved"],
                "base": model is base,
            }
        )
    return rows


def _model_name(model: Json) -> str:
    return "base model" if model["step"] is None else f"step {model['step']:,}"


def _dataset(row: Json) -> dict[str, Any]:
    total = row["used"] + sum(entry["images"] for entry in row["unused"])
    return row | {
        "total": total,
        "unused": [f"{entry['images']:,} {REASONS.get(entry['reason'], entry['reason'].replace('_', ' '))}" for entry in row["unused"]],
        "share": round(100 * row["used"] / total) if total else 0,
    }
