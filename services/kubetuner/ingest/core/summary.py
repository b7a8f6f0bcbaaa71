"""What became of the pictures of each dataset, counted while their rows pass by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from kubetuner.artifacts.objects import Json
from kubetuner.ingest.core.sources import Source


class Summary:
    """Counts of each dataset; holds 8 bytes a picture."""

    def __init__(self, found: Sequence[Source]) -> None:
        self._found = found
        self._reasons: dict[str, Counter[str]] = {one.dataset.id: Counter() for one in found}
        self._shown: dict[str, list[bytes]] = {one.dataset.id: [] for one in found}

    def counted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches of a manifest's rows, each of one dataset, counted."""
        for batch in batches:
            if batch.num_rows:
                name = batch["dataset"][0].as_py()
                self._reasons[name].update(batch["reason"].to_pylist())
                # 64 bits of a hash: of a hundred million pictures two different ones count as one with odds of 1 to 4,000.
                shown = batch["pixels"].filter(batch["used"]).to_pylist()
                self._shown[name].append(b"".join(bytes.fromhex(digest[:16]) for digest in shown))
            yield batch

    def rows(self) -> list[Json]:
        """Counts of each dataset: found, used, reasons of the rest, files that are no pictures, pictures shown twice."""
        return [self._row(one) for one in self._found]

    def _row(self, one: Source) -> Json:
        reasons = Counter(self._reasons[one.dataset.id])
        used = reasons.pop("", 0)
        shown = np.frombuffer(b"".join(self._shown[one.dataset.id]), np.uint64)
        return {
            "id": one.dataset.id,
            "kind": one.dataset.dataset_type,
            "found": used + sum(reasons.values()),
            "used": used,
            "reasons": dict(sorted(reasons.items())),
            "duplicates": len(shown) - len(np.unique(shown)),
            "otherFiles": dict(sorted(one.others.items())),
        }
