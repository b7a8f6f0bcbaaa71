"""What the rows measure on: a model, photographs, and the runs over them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import Progress, Silence, StageContext
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage import ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun, TrainingRunSpec

LEARNING_RATE: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run of the benchmarks: what all rows are given."""

    model: Path
    """Folder of an SDXL in diffusers' layout."""
    text_model: Path
    """Folder of one whose text encoders the text stage is measured with."""
    photographs: Path
    """Folder of pictures; their names are captions."""
    folder: Path
    """Where rows keep what they make: stores, small pictures."""
    side: int = 384
    """Edge of the pictures as the model sees them."""
    batch_size: int = 2
    steps: int = 20
    """Training steps of one measurement."""
    pairs: int = 5
    device: str = "cpu"
    captions: int = 48
    """Captions that the text stage encodes."""
    small_pictures: tuple[int, ...] = (1_000, 10_000)
    """How many small files ingest is measured on."""
    unet_batches: tuple[int, ...] = (1, 2)
    """Batch sizes of the row `unet`."""
    compile: bool = False
    """Whether the row `unet` compiles, too."""

    def document(self, *, learning_rate: float = LEARNING_RATE, **parts: Any) -> dict[str, Any]:
        """A run over the photographs as YAML gives it; `train` is laid over its training (None removes), other parts replace the spec's."""
        training = {"lora": {"rank": 16}, "batchSize": self.batch_size, "maxSteps": self.steps, "checkpoint": {"everySteps": 1_000_000}}
        laid = {**training, "optimizer": {"learningRate": learning_rate}, **parts.pop("train", {})}
        spec = {
            "seed": 1,
            "model": {"family": "sdxl", "path": str(self.model)},
            "datasets": [self.dataset()],
            "embed": {"vae": {"batchSize": min(4, self.batch_size * 2)}},
            "train": {name: value for name, value in laid.items() if value is not None},
            **parts,
        }
        return {"apiVersion": "kubetuner.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "bench"}, "spec": spec}

    def dataset(self) -> dict[str, Any]:
        """The photographs as squares."""
        size = {"resolution": self.side, "resolutionType": "pixel", "crop": True, "cropAspect": "square"}
        return {"id": "photographs", "source": {"uri": str(self.photographs)}, **size}

    def spec(self, **parts: Any) -> TrainingRunSpec:
        """`document`, resolved."""
        return self.run(**parts).spec

    def run(self, **parts: Any) -> TrainingRun:
        """`document`, resolved, with its name."""
        return resolve(parse_run(self.document(**parts)))

    def context(self, store: ObjectStore, progress: Progress | None = None) -> StageContext:
        """Surroundings of a stage."""
        return StageContext(store=store, base=self.folder, device=self.device, progress=progress or Silence())

    @contextmanager
    def store(self) -> Iterator[DirectoryStore]:
        """An empty store in a folder, gone at the end."""
        with self.scratch() as root:
            yield DirectoryStore(root)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, gone at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield root
        finally:
            shutil.rmtree(root)


def cached(spec: TrainingRunSpec, ctx: StageContext) -> ArtifactRef:
    """ingest and embed: the cache that a training reads."""
    from kubetuner.embed.core.run import run as embed
    from kubetuner.ingest.core.run import run as ingest

    return embed(spec, ingest(spec, None, ctx), ctx)


_TRUE_TEXT: Final[dict[str, Any]] = {"text": (768, 1280), "layers": (12, 32)}
_TRUE_REST: Final[dict[str, Any]] = {"unet": (320, 640, 1280), "transformers": (1, 2, 10), "vae": (128, 256, 512, 512)}


def full_model(folder: Path, tiny: Path) -> Path:
    """An SDXL of the true size with random weights, 14 GB in fp32, made with the vocabulary of a tiny one."""
    return _made(folder, tiny, **_TRUE_TEXT, **_TRUE_REST)


def true_text_encoders(folder: Path, tiny: Path) -> Path:
    """A tiny SDXL whose text encoders have the true size, 3.3 GB in fp32: with tiny ones, a caption takes less time than its row."""
    return _made(folder, tiny, **_TRUE_TEXT)


def _made(folder: Path, tiny: Path, **sizes: Any) -> Path:
    from tests.material import tiny_sdxl

    if not (folder / "model_index.json").exists():
        merges = (tiny / "tokenizer" / "merges.txt").read_text("utf-8").splitlines()[1:]
        tiny_sdxl.write(folder, merges=merges, sizes=tiny_sdxl.Sizes(**sizes))
    return folder
