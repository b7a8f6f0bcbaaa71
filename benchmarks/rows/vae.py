"""The whole stage of latents against decoding and encoding the same pictures one batch after the other."""

from __future__ import annotations

import statistics

from benchmarks import bare
from benchmarks.figures import Figure
from benchmarks.material import Bench
from benchmarks.measure import alternate, seconds
from kubetuner.artifacts import manifest as manifests
from kubetuner.diffusion.encoders import VaeEncoder
from kubetuner.diffusion.load import open_model
from kubetuner.diffusion.precision import choose_device, choose_dtype
from kubetuner.embed.core import pictures
from kubetuner.ingest.core.run import run as ingest


def measure(bench: Bench) -> list[Figure]:
    """Images a second of both, models loaded before."""
    spec = bench.spec()
    device = choose_device(bench.device)
    dtype = choose_dtype(spec.embed.vae.precision, device)
    files = sorted(path for path in bench.photographs.iterdir() if path.is_file())
    with bench.store() as seen:
        manifest = manifests.read(seen, ingest(spec, None, bench.context(seen)))
    used = manifest.used().num_rows
    vae = VaeEncoder(open_model(spec.model, base=bench.folder), dtype=dtype, device=device)
    encoders = bare.Encoders(bench.model, device, dtype)
    paths = files[:used]

    def ours() -> float:
        with bench.store() as store:
            return seconds(lambda: pictures.fill(spec, manifest, vae, bench.context(store)))

    def encode_all() -> None:
        size = spec.embed.vae.batch_size
        for start in range(0, len(paths), size):
            decoded = [bare.decode(path, bench.side)[0] for path in paths[start : start + size]]
            posterior = encoders.latents(decoded)
            _ = (posterior.mean.cpu(), posterior.std.cpu())

    def decode_all() -> None:
        for path in paths:
            bare.decode(path, bench.side)

    ours()  # loads the encoder
    pairs = alternate(bench.pairs, ours, lambda: seconds(encode_all))
    decoding = statistics.median(seconds(decode_all) for _ in range(bench.pairs))
    return [
        Figure(what="VAE stage, images/s, ours to decoding plus bare encoding", value=1 / pairs.ratio, at_least=0.95),
        Figure(what="VAE stage, ours", value=used / statistics.median(pairs.ours), unit="images/s"),
        Figure(what="share of the bare time that is decoding", value=decoding / statistics.median(pairs.bare), unit=""),
    ]
