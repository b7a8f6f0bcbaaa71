"""One rank of a training, started by torchrun: `rank.py BASE STEPS [STOP]` trains the run in BASE/run.json on the store BASE/store.

With STOP the training is interrupted after that many steps in this attempt.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from kubetuner.context import StageContext
from kubetuner.embed.core.run import run as embed
from kubetuner.errors import Interrupted
from kubetuner.ingest.core.run import run as ingest
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage.directory import DirectoryStore
from kubetuner.train.core.run import run as train
from tests.flow.flows import Counter


def main(base: Path, stop: int) -> None:
    run = resolve(parse_run(json.loads((base / "run.json").read_text())))
    first = os.environ.get("RANK", "0") == "0"
    counter = Counter(stage="train", after=stop if first else -1)  # only one rank is told to stop
    ctx = StageContext(store=DirectoryStore(base / "store"), base=base, device="cpu", progress=counter, cancelled=counter.cancelled)
    try:
        said = train(run.spec, embed(run.spec, ingest(run.spec, None, ctx), ctx), ctx).fingerprint
    except Interrupted:
        said = "interrupted"
    if first:
        print(said)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else -1)
