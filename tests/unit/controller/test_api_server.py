"""The controller as a process against a real API server with a real Job controller; pods end as this file says. Needs the programs that
`python -m tests.cluster build` makes, and says so where they are not there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import urllib3

from benchmarks.cluster.process import Controller
from kubetuner.controller.api import JOB, POD, RUN, ApiError, Json
from kubetuner.controller.cluster import KubernetesCluster, connect
from kubetuner.controller.stock import problem_of
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import until
from tests.unit.controller.fake import run_of
from tests.unit.controller.world import FINGERPRINTS, told
from tests.unit.spec.mutations import mutated

CHANGED = 500
SECONDS = 300.0
OF_CAT = "kubetuner.dev/run=cat"
CRD = Path(__file__).parents[3] / "charts/kubetuner/files/trainingruns.kubetuner.dev.yaml"
pytestmark = [
    pytest.mark.needs("apiserver"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(folder=tmp_path_factory.mktemp("plane")) as found:
        found.kubectl("apply", "--server-side", "-f", str(CRD))
        until(lambda: found.kubectl.run("get", "trainingruns", "--all-namespaces", check=False).returncode == 0, "the CRD", SECONDS)
        found.kubectl("create", "namespace", "team")
        yield found


@pytest.fixture(scope="module")
def controller(plane: ControlPlane) -> Iterator[Controller]:
    # It keeps its Lease also where all stands still for longer than it usually may.
    found = Controller(plane.folder, plane.kubeconfig, "controller", "team", str(plane.folder / "store"), lease_seconds=SECONDS)
    try:
        found.until("works", SECONDS)
        yield found
    finally:
        found.process.kill()
        found.process.wait()


async def end_pods(cluster: KubernetesCluster) -> None:
    """Every pod does its work at once and well."""
    for pod in (await cluster.list(POD, "team")).items:
        if pod["status"]["phase"] != "Pending" or "deletionTimestamp" in pod["metadata"]:
            continue
        stage = pod["metadata"]["labels"]["kubetuner.dev/stage"]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ended = {"exitCode": 0, "message": json.dumps(told(stage)), "reason": "Completed", "startedAt": now, "finishedAt": now}
        container = {"name": stage, "state": {"terminated": ended}, "ready": False, "restartCount": 0, "image": "", "imageID": ""}
        with suppress(ApiError):
            await cluster.patch(
                POD, "team", pod["metadata"]["name"], {"status": {"phase": "Succeeded", "containerStatuses": [container]}}, sub="status"
            )


async def wait_for(cluster: KubernetesCluster, name: str, phase: str, *, works: bool) -> Json:
    """The run once it is in a phase."""
    async with asyncio.timeout(SECONDS):
        while True:
            run = await cluster.get(RUN, "team", name)
            if (run.get("status") or {}).get("phase") == phase:
                return run
            if works:
                await end_pods(cluster)
            await asyncio.sleep(0.1)


def test_four_stages_run_and_then_nothing_is_called_any_more(plane: ControlPlane, controller: Controller) -> None:
    async def scene() -> None:
        cluster = await connect(str(plane.kubeconfig))
        await cluster.create(RUN, "team", run_of("dog"))
        run = await wait_for(cluster, "dog", "Succeeded", works=True)
        assert run["status"]["artifacts"] == FINGERPRINTS
        jobs = (await cluster.list(JOB, "team")).items
        assert sorted(job["metadata"]["name"] for job in jobs) == [f"dog-{stage}-1" for stage in ("embed", "evaluate", "ingest", "train")]
        await quiet(controller)
        await cluster.close()

    asyncio.run(scene())
    shown = plane.kubectl("get", "trainingruns", "-n", "team", "-o", "wide")
    assert "Succeeded" in shown
    assert "IngestSucceeded" in plane.kubectl("get", "events", "-n", "team", "-o", "jsonpath={.items[*].reason}")


def test_a_run_is_suspended_and_resumed(plane: ControlPlane, controller: Controller) -> None:
    async def scene() -> None:
        cluster = await connect(str(plane.kubeconfig))
        await cluster.create(RUN, "team", run_of("cat"))
        await wait_for(cluster, "cat", "Pending", works=False)  # a pod may be there before the status is
        async with asyncio.timeout(SECONDS):
            while not (await cluster.list(POD, "team", labels=OF_CAT)).items:
                await asyncio.sleep(0.1)
        await cluster.patch(RUN, "team", "cat", {"spec": {"suspend": True}})
        async with asyncio.timeout(SECONDS):
            while (await cluster.get(RUN, "team", "cat"))["status"]["phase"] != "Suspended":
                for pod in (await cluster.list(POD, "team", labels=OF_CAT)).items:
                    if "deletionTimestamp" in pod["metadata"]:
                        await cluster.delete(POD, "team", pod["metadata"]["name"])
                await asyncio.sleep(0.1)
        await cluster.patch(RUN, "team", "cat", {"spec": {"suspend": False}})
        run = await wait_for(cluster, "cat", "Succeeded", works=True)
        assert run["status"]["stages"][0]["attempt"] == 2
        await cluster.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cancel": False}, "spec.cancel cannot be taken back"),
        ({"train": {"maxSteps": 5}}, "spec.train cannot change"),
        ({"model": {"path": "store:other"}}, "spec.model cannot change"),
        ({"compute": {"retries": 1}}, "spec.compute changes only while the run is suspended"),
    ],
)
def test_what_a_begun_run_works_by_cannot_be_changed(plane: ControlPlane, controller: Controller, change: Json, words: str) -> None:
    async def scene() -> None:
        cluster = await connect(str(plane.kubeconfig))
        with suppress(ApiError):
            await cluster.create(RUN, "team", run_of("fixed", cancel=False))
        async with asyncio.timeout(SECONDS):
            while not ((await cluster.get(RUN, "team", "fixed")).get("status") or {}).get("stages"):
                await asyncio.sleep(0.05)
        if "cancel" in change:
            await cluster.patch(RUN, "team", "fixed", {"spec": {"cancel": True}})
        with pytest.raises(ApiError, match=words):
            await cluster.patch(RUN, "team", "fixed", {"spec": change})
        await cluster.close()

    asyncio.run(scene())


def test_the_api_server_takes_a_changed_run_where_our_own_checks_take_it(plane: ControlPlane) -> None:
    documents = {seed: mutated(seed) for seed in range(CHANGED)}
    token = json.loads(plane.kubeconfig.read_text())["users"][0]["user"]["token"]
    pool = urllib3.PoolManager(4, maxsize=4, ca_certs=str(plane.ca), headers={"Authorization": f"Bearer {token}"})
    with pool, ThreadPoolExecutor(4) as threads:
        said = threads.map(lambda run: refusal(pool, plane.server, run), documents.values())
        theirs = dict(zip(documents, said, strict=True))
    ours = {seed: problem_of(run) for seed, run in documents.items()}
    differences = {seed: (ours[seed], theirs[seed]) for seed in documents if bool(ours[seed]) != bool(theirs[seed])}
    assert differences == {}
    assert CHANGED / 20 < sum(not problem for problem in ours.values()) < CHANGED


def refusal(pool: urllib3.PoolManager, server: str, run: Json) -> str:
    """What the API server says against a run, as `kubectl apply` asks it; empty where it takes it."""
    url = f"{server}{RUN.path('team')}?dryRun=All&fieldValidation=Strict"
    answer = pool.request("POST", url, body=json.dumps(run), headers={**pool.headers, "Content-Type": "application/json"})
    assert answer.status in (201, 400, 422), answer.data
    return "" if answer.status == 201 else str(json.loads(answer.data)["message"])


async def quiet(controller: Controller) -> None:
    """Until nothing is called for three seconds; events are written late."""
    async with asyncio.timeout(SECONDS):
        before, after = -1, besides(controller)
        while before != after:
            await asyncio.sleep(3)
            before, after = after, besides(controller)


def besides(controller: Controller) -> int:
    """Calls but those of the Lease, lists and watches."""
    left_out = ("leases", 'verb="watch"', 'verb="list"')
    return sum(count for name, count in controller.calls().items() if not any(word in name for word in left_out))
