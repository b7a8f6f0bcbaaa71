"""embed: turn every caption and every picture of a manifest into what the U-Net is shown, each once for ever.

run(spec, manifest, ctx) -> cache
"""

from __future__ import annotations

from kubetuner.artifacts import cache, objects
from kubetuner.artifacts import manifest as manifests
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.diffusion.encoders import TextEncoder, VaeEncoder
from kubetuner.diffusion.load import open_model
from kubetuner.diffusion.precision import choose_device, choose_dtype, cost
from kubetuner.embed.core import pictures, texts
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec


def run(spec: TrainingRunSpec, source: ArtifactRef | None, ctx: StageContext) -> ArtifactRef:
    """Fill the pools with what the manifest needs and name it as a cache. What is in the pools already is not made again."""
    assert source is not None, "embed takes a manifest"
    manifest = manifests.read(ctx.store, source)
    device = choose_device(ctx.device)
    model = open_model(spec.model, base=ctx.base, store=ctx.store)
    text_encoder = TextEncoder(model, dtype=choose_dtype("auto", device), device=device)
    vae = VaeEncoder(model, dtype=choose_dtype(spec.embed.vae.precision, device), device=device)
    modes = {cache.TEXTS: spec.embed.text.cache, cache.LATENTS: spec.embed.vae.cache}
    target = cache.reference(source, text_encoder.id, vae.id, modes)
    finished, gone = cache.find(ctx.store, target)
    if finished is not None and not gone:
        return target
    if finished is not None:
        ctx.progress.note(f"{gone[0].prefix} of the finished cache has gone from the store; what it held is encoded again")
        objects.drop(ctx.store, target, finished)
    if warning := cost(spec.embed.vae.precision, device):
        ctx.progress.note(warning)
    shards: dict[str, list[str] | None] = {cache.TEXTS: None, cache.LATENTS: None}
    if modes[cache.TEXTS] == "eager":
        shards[cache.TEXTS] = texts.fill(spec, manifest, text_encoder, ctx)
    if modes[cache.LATENTS] == "eager":
        shards[cache.LATENTS] = pictures.fill(spec, manifest, vae, ctx)
    encoders = {cache.TEXTS: text_encoder.id, cache.LATENTS: vae.id}
    return cache.commit(ctx.store, target, manifest=source, encoders=encoders, modes=modes, shards=shards)
