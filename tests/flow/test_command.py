"""`kubetuner run` as a user runs it: a process, its files, its signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open

from tests.builders import photographs, run_document

FILES = [
    "diffusers/pytorch_lora_weights.safetensors",
    "lora.safetensors",
    "report/index.html",
    "report/report.json",
    "result.json",
    "run.resolved.yaml",
]
RUN = run_document(
    {"datasets[0].crop": True},
    train={"maxSteps": 40, "checkpoint": {"everySteps": 10, "keep": 2}, "lora": {"rank": 4, "alpha": 2}},
)


# The command, which a signal reaches as it puts the state of step 10 in its place: from without, a slow look might come after its end.
_STOPPED = """
import os, sys
from kubetuner.cli.main import main
number = int(sys.argv.pop(1))
def hear(event, arguments):
    if event == "os.link" and str(arguments[1]).endswith("-000000010/index.json"):
        os.kill(os.getpid(), number)
sys.addaudithook(hear)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def base(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    photographs(folder / "photographs", [(64, 64), (128, 64), (70, 90), (64, 64), (200, 200)])
    photographs(folder / "heldout", [(64, 64)])
    (folder / "tiny-sdxl").symlink_to(tiny_sdxl)
    document = json.loads(json.dumps(RUN))
    held_out = {"id": "heldout", "datasetType": "eval", "source": {"uri": "heldout"}, "resolution": 64, "resolutionType": "pixel_area"}
    document["spec"]["datasets"].append(held_out)
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    return folder


def start(base: Path, *arguments: str, verb: str = "run", program: Sequence[str] = ("-m", "kubetuner.cli.main")) -> subprocess.Popen[str]:
    command = [sys.executable, *program, verb, "run.yaml", "--device", "cpu", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=base, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def first(base: Path) -> dict:
    code, out, err = finish(start(base, "--store", "store", "--out", "out", "--json"))
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def test_the_files_of_out_are_there(base: Path, first: dict) -> None:
    files = sorted(str(path.relative_to(base / "out")) for path in (base / "out").rglob("*") if path.is_file())
    assert [name for name in files if not name.startswith("report/images/")] == FILES
    assert json.loads((base / "out" / "result.json").read_text()) == first


def test_result_tells_what_was_done(first: dict) -> None:
    """The held-out picture is also among the photographs: its pixels and its caption are encoded once."""
    assert set(first) == {"name", "phase", "artifacts", "work", "seconds", "loss", "evaluation"}
    assert first["phase"] == "Succeeded"
    assert set(first["artifacts"]) == {"manifest", "cache", "checkpoint", "report"}
    assert first["work"] == {"imagesRead": 6, "captionsEncoded": 8, "imagesEncoded": 5, "stepsTrained": 40, "imagesGenerated": 2}
    assert set(first["seconds"]) == {"ingest", "embed", "train", "evaluate"}
    assert set(first["loss"]) == {"first", "last"}


def test_a_second_run_does_no_work_and_gives_the_same_files(base: Path, first: dict) -> None:
    code, out, err = finish(start(base, "--store", "store", "--out", "again", "--json"))
    assert code == 0, err
    again = json.loads(out.splitlines()[-1])
    assert set(again["work"].values()) == {0}
    assert again["artifacts"] == first["artifacts"]
    for name in FILES:
        if name != "result.json":
            assert (base / "again" / name).read_bytes() == (base / "out" / name).read_bytes(), name


def test_the_lora_changes_what_diffusers_draws(base: Path, first: dict, tiny_sdxl: Path) -> None:
    def draw(lora: str | None) -> torch.Tensor:
        pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
        pipeline.set_progress_bar_config(disable=True)
        if lora is not None:
            pipeline.load_lora_weights(str(base / "out" / lora))
        random = torch.Generator("cpu").manual_seed(1)
        drawn = pipeline("a cat", width=64, height=64, num_inference_steps=2, generator=random, output_type="latent")
        return drawn.images

    base_image, kohya, diffusers = draw(None), draw("lora.safetensors"), draw("diffusers/pytorch_lora_weights.safetensors")
    assert torch.allclose(kohya, diffusers, atol=1e-4)
    assert not torch.allclose(kohya, base_image, atol=1e-3)


def test_another_kept_step_is_exported(base: Path, first: dict) -> None:
    code, _, err = finish(start(base, "--store", "store", "--out", "thirty", "--step", "30", verb="export"))
    assert code == 0, err
    files = {str(path.relative_to(base / "thirty")) for path in (base / "thirty").rglob("*") if path.is_file()}
    assert files == {"lora.safetensors", "diffusers/pytorch_lora_weights.safetensors"}
    with safe_open(base / "thirty" / "lora.safetensors", framework="pt") as file:
        assert file.metadata()["ss_steps"] == "30"
    assert (base / "thirty" / "lora.safetensors").read_bytes() != (base / "out" / "lora.safetensors").read_bytes()


def test_a_step_that_was_not_kept_is_named(base: Path, first: dict) -> None:
    code, _, err = finish(start(base, "--store", "store", "--step", "31", verb="export"))
    assert code == 2
    assert "kept are 30, 40" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_saves_and_goes_on_to_the_same_bytes(base: Path, first: dict, number: signal.Signals, code: int) -> None:
    store = f"store-{code}"
    stopped = start(base, "--store", store, "--out", f"out-{code}", "--json", program=("-c", _STOPPED, str(int(number))))
    found, out, err = finish(stopped)
    assert (found, out) == (code, ""), err
    assert list((base / store).glob("checkpoint/*-000000010/index.json"))
    assert "run the same command again" in err
    found, out, err = finish(start(base, "--store", store, "--out", f"out-{code}", "--json"))
    assert found == 0, err
    assert json.loads(out.splitlines()[-1])["work"]["stepsTrained"] < 40
    assert (base / f"out-{code}" / "lora.safetensors").read_bytes() == (base / "out" / "lora.safetensors").read_bytes()


def test_a_failure_is_one_line_and_exit_1(base: Path, first: dict) -> None:
    for path in (base / "store" / "latents").glob("*/data.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    code, _, err = finish(start(base, "--store", "store", "--out", "out", "--set", "train.maxSteps=3"))
    assert code == 1
    assert "Traceback" not in err
    assert "data.safetensors" in err.splitlines()[-1]
