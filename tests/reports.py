"""A finished report without a training behind it, for tests of the page."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from kubetuner.artifacts import report
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.artifacts.report import Report
from kubetuner.evaluate.core import document
from kubetuner.storage.memory import MemoryStore

SIZES = ((1024, 1024), (1280, 768))
DIGEST = "0123456789abcdef0123456789abcdef01234567"


def a_report(
    *,
    prompts: tuple[str, ...] = ("a photograph of a camera", "the red house"),
    notice: str = "",
    steps: int = 300,
    compared: tuple[str, ...] = (),
    sheet: tuple[str, ...] = (),
) -> Report:
    """A report with images, scores of two checkpoints, and two datasets; `compared` are captions of held-out pictures, drawn small at two
    strengths beside the true ones and measured, `sheet` those of the contact sheet."""
    images = [
        {"prompt": prompt, "negativePrompt": "blurry", "width": width, "height": height, "seed": 7}
        | {which: f"images/{number:03d}-{which}.png" for which in ("base", "tuned")}
        for number, (prompt, (width, height)) in enumerate((prompt, size) for prompt in prompts for size in SIZES)
    ]
    parts = _compared(compared, len(images)) | _contact_sheet(sheet)
    images += parts.pop("images", [])
    content = parts | {
        "notice": notice,
        "training": {
            "type": "lora",
            "steps": steps,
            "adapter": {"rank": 16, "alpha": 16, "dropout": 0, "targets": ["to_q"]},
            "predictionType": "epsilon",
            "curve": _curve(steps),
        },
        "evaluation": _evaluation(steps),
        "sampling": {"sampler": "euler", "steps": 20, "guidance": 5.0, "guidanceRescale": 0.0},
        "images": images,
        "datasets": [
            {
                "id": "photographs-of-a-rather-long-name",
                "kind": "image",
                "used": 1843,
                "unused": [{"reason": "too_small", "images": 37}, {"reason": "unreadable", "images": 2}],
                "buckets": [{"size": f"{1024 - 64 * number}x{1024 + 64 * number}", "images": 100 - number} for number in range(14)],
            },
            {"id": "held-out", "kind": "eval", "used": 24, "unused": [], "buckets": [{"size": "1024x1024", "images": 24}]},
        ],
        "artifacts": dict.fromkeys(("manifest", "cache", "checkpoint"), DIGEST),
        "model": dict.fromkeys(("unet", "vae", "text_encoder"), DIGEST),
        "versions": {"python": "3.11", "torch": "2.15.0"},
    }
    store = MemoryStore()
    checkpoint = ArtifactRef(noun="checkpoint", fingerprint="c")
    pictures = {
        row[which]: _picture(row["width"], row["height"], which) for row in images for which in ("base", "tuned", "true") if which in row
    }
    pictures |= {drawn["image"]: _picture(64, 64, str(drawn["scale"])) for row in images for drawn in row.get("strengths", ())}
    pictures |= {view["image"]: _picture(64, 64, "true") for view in content.get("contactSheet", ())}
    ref = report.reference(checkpoint, {}, {})
    report.commit(store, ref, checkpoint=checkpoint, parts=[], exports={"lora.safetensors": DIGEST * 2}, document=content, images=pictures)
    return report.read(store, ref)


def _compared(captions: tuple[str, ...], first: int) -> dict[str, Any]:
    images = [
        {"prompt": caption, "negativePrompt": "", "width": 64, "height": 64, "seed": 7, "dataset": "held-out"}
        | {which: f"images/{number:03d}-{which}.png" for which in ("base", "tuned", "true")}
        | {"strengths": [{"scale": 0.5, "image": f"images/{number:03d}-tuned-0.5.png"}]}
        for number, caption in enumerate(captions, first)
    ]
    rows = ((0, 0.5432, 13.55, 0.125), (0.5, 0.71, 9.5, 0.2), (1, 0.9712, 5.8, 0.5))
    drawn = [{"scale": scale, "colourless": share, "rank": rank, "first": found} for scale, share, rank, found in rows]
    measures = {"images": 40, "pictures": 40, "colourlessBelow": 10.0, "true": {"colourless": 0.9958}, "drawn": drawn}
    return {"images": images, "measures": measures} if captions else {}


def _contact_sheet(captions: tuple[str, ...]) -> dict[str, Any]:
    rows = [{"dataset": "drawings", "caption": text, "image": f"images/sheet-{row:03d}.png"} for row, text in enumerate(captions)]
    return {"contactSheet": rows} if captions else {}


def _curve(steps: int) -> list[dict[str, Any]]:
    noise = np.random.default_rng(0).normal(0, 0.02, steps)
    return [
        {
            "step": step,
            "loss": 0.12 + 0.06 * float(np.exp(-step / steps * 5)) + float(noise[step - 1]),
            "learningRate": 1e-4 * (1 - step / steps / 2),
        }
        for step in range(1, steps + 1)
    ]


def _evaluation(steps: int) -> dict[str, Any]:
    timesteps = [62, 187, 312, 437, 562, 687, 812, 937]

    def score(mean: float) -> dict[str, Any]:
        return {"mean": mean, "images": 24, "perTimestep": [round(mean * 8 / (row + 2), 4) for row in range(8)], "perDataset": {}}

    figures = [(None, 0.1432, 0.1445, 0), (steps // 2, 0.1287, 0.1221, 23), (steps, 0.1322, 0.1011, 18)]
    models = [
        {"step": step, "fingerprint": None, "heldOut": score(held_out), "training": score(training), "improved": improved}
        for step, held_out, training, improved in figures
    ]
    return {"timesteps": timesteps, "seed": 7, "models": models, **document.rank(models)}


def _picture(width: int, height: int, which: str) -> bytes:
    step = 8 if width > 64 else 1
    down, across = np.mgrid[0:height:step, 0:width:step]
    colour = np.stack([across % 256, down % 256, np.full_like(down, {"base": 90, "true": 10, "0.5": 150}.get(which, 200))], axis=-1).astype(
        np.uint8
    )
    data = io.BytesIO()
    Image.fromarray(colour).save(data, "PNG")
    return data.getvalue()
