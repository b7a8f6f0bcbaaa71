"""RunService's server: TLS by default with certificates that follow their files, health, reflection where it is asked for.

KUBETUNER_GRPC_LISTEN     address of the service ([::]:8443)
KUBETUNER_TLS_CERT, KUBETUNER_TLS_KEY, KUBETUNER_TLS_CLIENT_CA     files; read again when they change
KUBETUNER_GRPC_INSECURE   1 serves without TLS, for a proxy in the same pod that adds it
KUBETUNER_AUDIENCE        audience that callers' tokens must have (kubetuner)
KUBETUNER_REFLECTION      1 tells callers the schema
KUBETUNER_INSPECTION      address of the server that looks at data for dry runs (unix:/path); empty for none
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from kubetuner import log
from kubetuner.controller.runs import Runs
from kubetuner.controller.service import Parts, RunService
from kubetuner.controller.service_auth import AUDIENCE, Gate
from kubetuner.controller.service_calls import Calls, Told, ignore
from kubetuner.controller.service_datasets import Datasets
from kubetuner.controller.service_inspect import Inspections
from kubetuner.controller.service_outputs import Outputs
from kubetuner.errors import KubeTunerError
from kubetuner.rpc import tls
from kubetuner.rpc.serve import OPTIONS
from kubetuner.rpc.settings import Listening, SettingError, listening, switch
from kubetuner.storage import ObjectStore, open_store
from kubetuner.v1alpha1 import run_service_pb2 as pb
from kubetuner.v1alpha1 import run_service_pb2_grpc

NAME: Final = pb.DESCRIPTOR.services_by_name["RunService"].full_name
_THREADS: Final = 32
_GRACE: Final = 5.0
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Where and how RunService is served."""

    store: str
    listening: Listening
    audience: str = AUDIENCE
    inspection: str = ""


def read(environment: Mapping[str, str]) -> ServiceSettings | None:
    """The settings in an environment; None where neither certificates nor an address are given: then there is no RunService."""
    found = listening(environment, name="KUBETUNER_GRPC_LISTEN", address="[::]:8443")
    if found.tls is None and not switch(environment, "KUBETUNER_GRPC_INSECURE"):
        if environment.get("KUBETUNER_GRPC_LISTEN"):
            raise SettingError(
                "KUBETUNER_TLS_CERT: not set; RunService needs a certificate, or KUBETUNER_GRPC_INSECURE=1 behind a proxy of TLS"
            )
        return None
    store = environment.get("KUBETUNER_STORE", "")
    if not store:
        raise SettingError("KUBETUNER_STORE: not set; give the object store, as s3://bucket/prefix")
    return ServiceSettings(
        store=store,
        listening=found,
        audience=environment.get("KUBETUNER_AUDIENCE") or AUDIENCE,
        inspection=environment.get("KUBETUNER_INSPECTION", ""),
    )


class RunServer:
    """Serves RunService on the running loop."""

    def __init__(
        self, settings: ServiceSettings, runs: Runs, *, store: ObjectStore | None = None, gate: Gate | None = None, told: Told = ignore
    ) -> None:
        """`store` is the one that the settings name, where it is open already; `told` hears of each call."""
        self._settings = settings
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="service")
        opened = store if store is not None else open_store(settings.store, path="KUBETUNER_STORE")
        gate = gate or Gate(runs, settings.audience)
        parts = Parts(
            runs=runs,
            gate=gate,
            store=opened,
            datasets=Datasets(opened, self._executor),
            outputs=Outputs(opened, self._executor),
            inspections=Inspections(settings.inspection),
            executor=self._executor,
        )
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(interceptors=[Calls(gate, told=told)], options=OPTIONS)
        self._service = RunService(parts)
        run_service_pb2_grpc.add_RunServiceServicer_to_server(self._service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.listening.reflection:
            reflection.enable_server_reflection([NAME, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        self.port = 0
        """Port of the service, once it is served."""

    async def start(self) -> None:
        """Serve from now on. Raises KubeTunerError where the address cannot be had."""
        address, certificates = self._settings.listening.address, self._settings.listening.tls
        try:
            if certificates is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, tls.credentials(certificates))
        except RuntimeError as error:
            raise KubeTunerError(f"{address}: cannot be listened on ({error}); free the port, or give another address") from error
        await self._server.start()
        for name in ("", NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        _logger.info("RunService is served", port=self.port, tls=certificates is not None, audience=self._settings.audience)

    async def stop(self) -> None:
        """Say that no more calls should come, give those under way a moment, and end."""
        await self._health.enter_graceful_shutdown()
        self._service.leave()
        await self._server.stop(_GRACE)
        self._executor.shutdown(wait=False, cancel_futures=True)
