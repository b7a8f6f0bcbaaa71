"""The whole stage of texts against encoding the same captions in batches of the same size."""

from __future__ import annotations

import statistics

from benchmarks import bare
from benchmarks.figures import Figure
from benchmarks.material import Bench
from benchmarks.measure import alternate, seconds
from kubetuner.artifacts import manifest as manifests
from kubetuner.diffusion.encoders import TextEncoder
from kubetuner.diffusion.load import open_model
from kubetuner.diffusion.precision import choose_device, choose_dtype
from kubetuner.embed.core import texts
from kubetuner.ingest.core.run import run as ingest


def measure(bench: Bench) -> list[Figure]:
    """Captions a second of both, models loaded before."""
    captions = [f"a photograph number {number} of a tabby cat on a red sofa beside {number % 17} cups" for number in range(bench.captions)]
    dataset = {**bench.dataset(), "captionStrategy": "instanceprompt", "instancePrompts": captions}
    spec = bench.spec(datasets=[dataset], model={"family": "sdxl", "path": str(bench.text_model)})
    device = choose_device(bench.device)
    dtype = choose_dtype("auto", device)
    with bench.store() as seen:
        manifest = manifests.read(seen, ingest(spec, None, bench.context(seen)))
    encoder = TextEncoder(open_model(spec.model, base=bench.folder), dtype=dtype, device=device)
    encoders = bare.Encoders(bench.text_model, device, dtype)
    all_captions = sorted({"", *captions})

    def ours() -> float:
        with bench.store() as store:
            return seconds(lambda: texts.fill(spec, manifest, encoder, bench.context(store)))

    def encode_all() -> None:
        size = spec.embed.text.batch_size
        for start in range(0, len(all_captions), size):
            for tensor in encoders.text(all_captions[start : start + size]):
                tensor.cpu()

    ours()  # loads the encoders
    pairs = alternate(bench.pairs, ours, lambda: seconds(encode_all))
    return [
        Figure(what="text stage, captions/s, ours to bare batched encoding", value=1 / pairs.ratio, at_least=0.95),
        Figure(what="text stage, ours", value=len(all_captions) / statistics.median(pairs.ours), unit="captions/s"),
    ]
