"""The files that a cluster gives are those of a laptop, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

from kubetuner import local
from kubetuner.artifacts import garbage, inventory, outputs
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.controller.service_outputs import gather
from kubetuner.evaluate.server import keep_files
from kubetuner.v1alpha1.evaluate_service_pb2 import StartEvaluateRequest
from tests.builders import run_document
from tests.flow.flows import Place, a_run

SAME = ("lora.safetensors", "diffusers/pytorch_lora_weights.safetensors", "report/report.json")


def test_a_clusters_files_are_those_of_a_laptop(place: Place, tmp_path: Path) -> None:
    run = a_run()
    out = tmp_path / "out"
    outcome = local.run(run, out, place.context())
    request = StartEvaluateRequest(run="team/tiny", request_id="uid-1-evaluate-1", attempt=1)
    keep_files(request, run.spec, outcome.report, place.context())
    cr = run_document({"datasets[0].source": {"uri": "s3://bucket/elsewhere"}, "suspend": False, "compute": {"retries": 1}})
    cr["metadata"] |= {"uid": "uid-1", "namespace": "team", "resourceVersion": "5"}
    cr["status"] = {"phase": "Succeeded", "artifacts": outcome.result["artifacts"]}
    found = gather(place.store, cr)
    here = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert set(found.files) == here
    images = tuple(path for path in here if path.startswith("report/images/"))
    for path in (*SAME, *images):
        assert place.store.get(found.files[path].key) == (out / path).read_bytes(), path
    needed_are_kept(place, outcome)
    result, there = json.loads(found.made["result.json"]), json.loads((out / "result.json").read_text())
    assert result.keys() == there.keys()
    assert {key: result[key] for key in ("name", "phase", "artifacts", "loss", "evaluation")} == {
        key: there[key] for key in ("name", "phase", "artifacts", "loss", "evaluation")
    }


def needed_are_kept(place: Place, outcome: local.Outcome) -> None:
    """A clean-up leaves the files and all that they were made from."""
    [(ref, _)] = outputs.of_name(place.store, "tiny")
    assert outputs.chain(place.store, outcome.report) == outcome.result["artifacts"]
    found = inventory.survey(place.store)
    assert {one.noun for one in garbage.reachable(found, [ref])} >= {"outputs", "report", "checkpoint", "cache", "manifest"}
    gone = garbage.decide(found, garbage.Terms(now=1e12, young_seconds=0.0))
    assert ref not in {node.ref for node in gone.nodes}


def test_direct_use_without_a_run_keeps_no_files(place: Place) -> None:
    keep_files(StartEvaluateRequest(), a_run().spec, ArtifactRef(noun="report", fingerprint="0" * 40), place.context())
    assert list(place.store.list()) == []
