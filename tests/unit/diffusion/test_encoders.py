"""Text embeddings and latents against diffusers' own pipeline and transformers' own tokenizers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from kubetuner.diffusion import latents, load
from kubetuner.diffusion.encoders import TextEncoder, VaeEncoder, pack, unpack
from kubetuner.diffusion.load import ModelSource
from kubetuner.diffusion.precision import memory_explained
from kubetuner.errors import KubeTunerError
from tests.builders import picture

CPU = torch.device("cpu")
CAPTIONS = ["", "a photograph of a cat", "a red square!! " * 40]


@pytest.fixture(scope="module")
def source(tiny_sdxl: Path) -> ModelSource:
    return ModelSource(name="tiny", root=tiny_sdxl)


@pytest.fixture(scope="module")
def pipeline(tiny_sdxl: Path) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_embeddings_are_those_of_the_pipeline(source: ModelSource, pipeline: StableDiffusionXLPipeline, caption: str) -> None:
    (item,) = TextEncoder(source, dtype=torch.float32, device=CPU).encode([caption])
    hidden, _, pooled, _ = pipeline.encode_prompt(caption, do_classifier_free_guidance=False)
    assert torch.allclose(unpack(item["hidden"]), hidden[0], atol=1e-5)
    assert torch.allclose(unpack(item["pooled"]), pooled[0], atol=1e-5)


def test_each_tokenizer_pads_in_its_own_way(source: ModelSource) -> None:
    encoders = load.load_text_encoders(source, dtype=torch.float32, device=CPU)
    from kubetuner.diffusion.text import _tokens

    first, second = _tokens(encoders.first_tokenizer, ["a cat"])[0], _tokens(encoders.second_tokenizer, ["a cat"])[0]
    assert (len(first), len(second)) == (77, 77)
    assert first[-1] == encoders.first_tokenizer.eos_token_id
    assert second[-1] == 0


def test_moments_are_those_of_the_autoencoder(source: ModelSource, pipeline: StableDiffusionXLPipeline) -> None:
    image = picture((64, 48))
    (item,) = VaeEncoder(source, dtype=torch.float32, device=CPU).encode([np.asarray(image)], ["x"])
    posterior = pipeline.vae.encode(VaeImageProcessor().preprocess(image)).latent_dist
    moments = unpack(item["moments"])
    assert moments.shape == (2, 4, 6, 8)
    assert torch.allclose(moments[0], posterior.mean[0], atol=1e-4)
    assert torch.allclose(moments[1], posterior.std[0], atol=1e-4)


def test_a_sample_is_mean_and_deviation_times_noise_scaled() -> None:
    moments, noise = torch.rand(3, 2, 4, 2, 2), torch.randn(3, 4, 2, 2)
    assert torch.allclose(latents.sample(moments, noise, 0.13025), (moments[:, 0] + moments[:, 1] * noise) * 0.13025)
    assert torch.allclose(latents.mean(moments, 0.13025), moments[:, 0] * 0.13025)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_batch_survives_packing(dtype: torch.dtype) -> None:
    tensor = torch.randn(3, 5).to(dtype)
    assert torch.equal(torch.stack([unpack(row) for row in pack(tensor)]), tensor)


def test_a_picture_that_encodes_to_nan_is_named(source: ModelSource) -> None:
    encoder = VaeEncoder(source, dtype=torch.float32, device=CPU)
    encoder._vae.encoder.conv_in.weight.data.fill_(float("nan"))
    with pytest.raises(KubeTunerError, match=r"cat\.png"):
        encoder.encode([np.asarray(Image.new("RGB", (64, 64)))], ["cat.png"])


def test_precision_and_weights_are_in_the_encoders_id(source: ModelSource) -> None:
    ids = {VaeEncoder(source, dtype=dtype, device=CPU).id for dtype in (torch.float32, torch.bfloat16)}
    assert len(ids) == 2
    assert TextEncoder(source, dtype=torch.float32, device=CPU).id not in ids


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: x")],
)
def test_a_lack_of_memory_is_explained(error: BaseException) -> None:
    with pytest.raises(KubeTunerError, match=r"out of memory.*take less"), memory_explained("take less"):
        raise error
