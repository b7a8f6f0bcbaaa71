"""What the kubelet and Prometheus are told."""

from __future__ import annotations

import asyncio

from kubetuner.controller.api import RUN
from kubetuner.controller.cache import Cache
from kubetuner.controller.health import Health, serve
from kubetuner.controller.metrics import Metrics
from kubetuner.controller.reflector import Reflector
from tests.unit.controller.fake import FakeCluster
from tests.waiting import SECONDS


def health(now: list[float]) -> Health:
    cache = Cache()
    reflector = Reflector(cluster=FakeCluster(), kind=RUN, namespace="", cache=cache)
    reflector.last_success = 0.0
    found = Health(reflectors=[reflector], caches=[cache], metrics=Metrics(), clock=lambda: now[0])
    found._beat = now[0]
    return found


def test_a_process_is_ready_once_its_picture_is_whole() -> None:
    found = health([0.0])
    assert found.answer("/readyz")[0] == 503
    found.caches[0].synced = True
    assert found.answer("/readyz")[0] == 200


def test_a_process_is_live_while_its_loop_turns_and_its_watches_hear_something() -> None:
    now = [10.0]
    found = health(now)
    assert found.answer("/livez")[0] == 200
    now[0] = 40.0
    assert b"event loop stood for 30 s" in found.answer("/livez")[2]
    found._beat = now[0] = 400.0
    status, _, words = found.answer("/livez")
    assert (status, b"nothing was heard of trainingruns" in words) == (503, True)


def test_metrics_have_controller_runtimes_names_and_no_runs_name() -> None:
    metrics = Metrics()
    metrics.reconciled("success", 0.01)
    metrics.waited(0.001)
    metrics.call("patch", "trainingruns", "PATCH", "200", 0.003)
    metrics.runs({"Running": 2})
    text = metrics.text().decode()
    for name in (
        'controller_runtime_reconcile_total{controller="trainingrun",result="success"} 1.0',
        'workqueue_adds_total{name="trainingrun"} 1.0',
        'rest_client_requests_total{code="200",method="PATCH"} 1.0',
        'kubetuner_runs{phase="Running"} 2.0',
    ):
        assert name in text


def test_it_is_served_over_http_and_bad_requests_end_nothing() -> None:
    async def ask(port: int, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        found = await asyncio.wait_for(reader.read(), SECONDS)
        writer.close()
        return found

    async def scene() -> None:
        found = health([0.0])
        server = await serve("127.0.0.1:0", found.answer)
        port = server.sockets[0].getsockname()[1]
        assert (await ask(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert b"405" in await ask(port, b"POST /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"404" in await ask(port, b"GET /secret?x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"405" in await ask(port, b"nonsense\r\n\r\n")
        assert b"workqueue_depth" in await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        server.close()

    asyncio.run(scene())
