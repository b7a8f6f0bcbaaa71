"""Our first step against the same step written out with diffusers alone, from picture files to the adapter's weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionXLPipeline
from peft import LoraConfig
from PIL import Image
from safetensors.torch import load

from kubetuner import draws
from kubetuner.artifacts.objects import ArtifactRef
from tests.flow.flows import Place, a_run

SEED, RATE = 5, 0.01


def drawn(purpose: str, row: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(draws.generator(SEED, purpose, row, 0, 0).standard_normal(shape, dtype=np.float32))


def plain_loss(pipeline: StableDiffusionXLPipeline, paths: list[Path], rows: list[int], crops: list[tuple[int, int]]) -> torch.Tensor:
    """What diffusers' train_text_to_image_lora_sdxl does for one batch; pictures of 64x64 after a resize and a crop."""
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    latents, hidden, pooled, time_ids, noise, timesteps = [], [], [], [], [], []
    for path, row, (top, left) in zip(paths, rows, crops, strict=True):
        image = Image.open(path).convert("RGB")
        scale = 64 / min(image.size)
        resized = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        pixels = np.asarray(resized.crop((left, top, left + 64, top + 64)), np.float32) / 127.5 - 1
        posterior = pipeline.vae.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None]).latent_dist
        latents.append((posterior.mean + posterior.std * drawn("latent", row, (1, 4, 8, 8)))[0] * pipeline.vae.config.scaling_factor)
        embeds, _, pool, _ = pipeline.encode_prompt(path.stem.replace("_", " "), do_classifier_free_guidance=False)
        hidden.append(embeds[0])
        pooled.append(pool[0])
        time_ids.append([image.height, image.width, top, left, 64, 64])
        noise.append(drawn("noise", row, (4, 8, 8)))
        timesteps.append(int(draws.generator(SEED, "timestep", row, 0, 0).random() * 1000))
    clean, eps, steps = torch.stack(latents).detach(), torch.stack(noise), torch.tensor(timesteps)
    conditions = {"text_embeds": torch.stack(pooled).detach(), "time_ids": torch.tensor(time_ids, dtype=torch.float32)}
    noisy = scheduler.add_noise(clean, eps, steps)
    prediction = pipeline.unet(noisy, steps, torch.stack(hidden).detach(), added_cond_kwargs=conditions).sample
    return torch.nn.functional.mse_loss(prediction.float(), eps)


@pytest.fixture
def training(place: Place) -> tuple[Place, ArtifactRef]:
    run = a_run(
        {
            "seed": SEED,
            "datasets[0].crop": True,
            "datasets[0].cropStyle": "random",
            "datasets[0].maxNumSamples": 0,
            "embed.vae.precision": "fp32",
            "embed.vae.batchSize": 1,
            "train.batchSize": 7,
            "train.maxSteps": 1,
            "train.captionDropoutProbability": 0,
            "train.optimizer": {"learningRate": RATE},
            "train.gradientCheckpointing": False,
        }
    )
    return place, place.trained(run)


def test_the_first_step_is_that_of_a_plain_diffusers_loop(training: tuple[Place, ArtifactRef], tiny_sdxl: Path) -> None:
    from kubetuner.artifacts import cache, objects
    from kubetuner.artifacts import manifest as manifests

    place, ref = training
    index = objects.load(place.store, ref)
    rows = manifests.read(place.store, cache.source(objects.load(place.store, ArtifactRef(**index["source"])))).table.to_pylist()
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
    pipeline.unet.requires_grad_(False)
    torch.manual_seed(draws.key(SEED, "adapter") % 2**63)
    pipeline.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    paths = [place.base / "photographs" / row["path"] for row in rows]
    loss = plain_loss(pipeline, paths, list(range(len(rows))), [(row["crop_top"], row["crop_left"]) for row in rows])
    assert place.history(ref)[0]["loss"] == pytest.approx(loss.item(), rel=1e-3)

    trained = {name: weight for name, weight in pipeline.unet.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
    assert place.history(ref)[0]["gradNorm"] == pytest.approx(norm.item(), rel=1e-2)
    optimizer.step()
    ours = load(place.weights(ref))
    # Adam's first step has the size of the rate whatever the gradient, so elements with next to no gradient may differ in sign.
    agree = [torch.isclose(ours[name.replace(".default", "")], weight, atol=RATE * 1e-2).float().mean() for name, weight in trained.items()]
    assert torch.stack(agree).mean() > 0.98
