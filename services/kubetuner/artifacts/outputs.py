"""The outputs: the files that a run on a cluster gives, as `kubetuner run --out` writes them on a laptop.

outputs/<fingerprint>/index.json      the run's name and resolved spec; `source` is the report
outputs/<fingerprint>/<path>          exports and report, each under its path below `--out`

Two files are not kept but put together when they are asked for, since runs that share the rest differ in them: `run.resolved.yaml` and
`result.json`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.errors import ArtifactError
from kubetuner.spec.resolve import to_json, to_yaml
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

NOUN: Final = "outputs"
RESOLVED: Final = "run.resolved.yaml"
RESULT: Final = "result.json"
COUNTED: Final = ("imagesRead", "captionsEncoded", "imagesEncoded", "stepsTrained", "imagesGenerated")
"""Units of work that result.json counts."""
_FORMAT: Final = 1
_STAGES: Final = ("ingest", "embed", "train", "evaluate")
_OF_A_CLUSTER: Final = ("suspend", "cancel", "managedBy", "queue", "compute")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that a run gives."""

    path: str
    """Below the output folder, with `/`."""
    size: int
    """Bytes."""
    sha256: str
    """Of its bytes, in hex."""
    key: str = ""
    """Its object in the store; empty where it is put together when it is asked for."""


def reference(report: ArtifactRef, run: TrainingRun) -> ArtifactRef:
    """Name of the outputs of a resolved run with this report. Headers and page tell the run's name and settings, so these stand in it, but
    addresses do not: where the same pictures and weights lie makes no other files."""
    return ArtifactRef(noun=NOUN, fingerprint=fingerprint(NOUN, _FORMAT, report.fingerprint, run.metadata.name, _outline(run)))


def commit(
    store: ObjectStore, ref: ArtifactRef, *, report: ArtifactRef, run: TrainingRun, files: Mapping[str, bytes | Path], uid: str = ""
) -> ArtifactRef:
    """Keep the files, by their path below the output folder. `uid` is that of the run on its cluster, with which its jobs' names begin."""
    source = {"noun": report.noun, "fingerprint": report.fingerprint}
    index = {"format": _FORMAT, "source": source, "name": run.metadata.name, "uid": uid, "run": to_json(run)}
    return objects.commit(store, ref, index, files)


def files(ref: ArtifactRef, index: Json) -> list[File]:
    """The files that are kept, by path."""
    rows = [File(path=row["name"], size=row["size"], sha256=row["sha256"], key=objects.key_of(ref, row)) for row in index["objects"]]
    return sorted(rows, key=lambda row: row.path)


def of_name(store: ObjectStore, name: str) -> list[tuple[ArtifactRef, Json]]:
    """Outputs of runs of this name, the newest last."""
    found = []
    for info in store.list(f"{NOUN}/"):
        fingerprint_, _, rest = info.key.removeprefix(f"{NOUN}/").partition("/")
        if rest != "index.json":
            continue
        ref = ArtifactRef(noun=NOUN, fingerprint=fingerprint_)
        index = objects.find(store, ref)
        if index is not None and index["name"] == name:
            found.append((info.modified, ref, index))
    return [(ref, index) for _, ref, index in sorted(found, key=lambda row: (row[0], row[1].fingerprint))]


def chain(store: ObjectStore, report: ArtifactRef) -> dict[str, str]:
    """Fingerprints of all that a report was made from and its own, by noun, in the order of the flow."""
    found, ref = {report.noun: report.fingerprint}, report
    while (index := objects.load(store, ref)).get("source"):
        ref = ArtifactRef(**index["source"])
        found[ref.noun] = ref.fingerprint
    return dict(reversed(found.items()))


def result(store: ObjectStore, *, name: str, artifacts: Mapping[str, str], work: Mapping[str, int], seconds: Mapping[str, float]) -> Json:
    """result.json of a run that has succeeded; `artifacts` holds the fingerprint of each by its noun."""
    checkpoint = objects.load(store, ArtifactRef(noun="checkpoint", fingerprint=artifacts["checkpoint"]))
    report = ArtifactRef(noun="report", fingerprint=artifacts["report"])
    scores = objects.read_json(store, report, objects.load(store, report), "report.json")
    counted = Counter(work)
    return {
        "name": name,
        "phase": "Succeeded",
        "artifacts": dict(artifacts),
        "work": {unit: counted[unit] for unit in COUNTED},
        "seconds": dict(seconds),
        "loss": checkpoint["loss"],
        "evaluation": scores["evaluation"],
    }


def document(value: Mapping[str, Any]) -> bytes:
    """A JSON file for people."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def made(store: ObjectStore, index: Json) -> dict[str, bytes]:
    """The two files that are put together, as far as the store alone can tell of the run that made the rest."""
    run = json_format.ParseDict(index["run"], TrainingRun(), ignore_unknown_fields=True)
    work, seconds = jobs(store, index["uid"]) if index["uid"] else ({}, {})
    found = result(store, name=index["name"], artifacts=chain(store, ArtifactRef(**index["source"])), work=work, seconds=seconds)
    return {RESOLVED: to_yaml(run).encode("utf-8"), RESULT: document(found)}


def jobs(store: ObjectStore, uid: str) -> tuple[dict[str, int], dict[str, float]]:
    """Work and seconds of each stage over all attempts and shards of a run, as its jobs in the store tell."""
    work: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    for job in _jobs(store, uid):
        work.update({unit: int(count) for unit, count in job.get("work", {}).items()})
        if "startTime" in job and "endTime" in job:
            spent = _time(job["endTime"]) - _time(job["startTime"])
            seconds[job["stage"]] = round(seconds.get(job["stage"], 0.0) + spent, 3)
    return dict(work), {stage: seconds[stage] for stage in _STAGES if stage in seconds}


def _jobs(store: ObjectStore, uid: str) -> Iterator[Json]:
    for info in store.list(f"jobs/{uid}-"):
        if info.key.endswith("/job.json"):
            try:
                found = json.loads(store.get(info.key))
            except (ArtifactError, ValueError):  # deleted or replaced meanwhile: it tells figures, not results
                continue
            if isinstance(found, dict):
                yield found


def _time(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _outline(run: TrainingRun) -> Json:
    """The resolved spec without addresses and without what only a cluster reads."""
    spec = to_json(run.spec)
    for name in _OF_A_CLUSTER:
        spec.pop(name, None)
    spec["model"] = {name: value for name, value in spec["model"].items() if name == "family"}
    for dataset in spec["datasets"]:
        dataset.pop("source", None)
    return spec
