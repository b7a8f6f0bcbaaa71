"""What `helm test` runs: RunService says by health that it serves, and the API server has the kind TrainingRun."""

import json
import os
import ssl
import sys
import time
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def run_service(address: str, authority: str, patience: float = 60.0) -> None:
    """Ask for its health until it serves."""
    roots = None  # the system's, where the certificate's Secret names no authority
    if os.path.exists(authority):
        with open(authority, "rb") as file:
            roots = file.read()
    trusted = grpc.ssl_channel_credentials(roots)
    deadline = time.monotonic() + patience
    with grpc.secure_channel(address, trusted) as channel:
        while True:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    print(f"RunService at {address} serves")
                    return
                said = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            except grpc.RpcError as error:
                said = str(error)
            if time.monotonic() > deadline:
                sys.exit(f"RunService at {address} does not serve: {said}")
            time.sleep(1.0)


def kind(namespace: str) -> None:
    """List the namespace's runs."""
    with open(f"{ACCOUNT}/token", encoding="utf-8") as file:
        token = file.read()
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = (
        f"https://{f'[{host}]' if ':' in host else host}:{port}/apis/kubetuner.dev/v1alpha1/namespaces/{namespace}/trainingruns?limit=1"
    )
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    trusted = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    with urllib.request.urlopen(request, context=trusted, timeout=10.0) as answer:
        found = json.load(answer)
    print(f"{address} answers with {found['kind']}")


kind(sys.argv[1])
if len(sys.argv) > 2:
    run_service(sys.argv[2], sys.argv[3])
