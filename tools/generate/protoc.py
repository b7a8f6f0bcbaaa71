"""Runs protoc (of grpcio-tools) on all protos.

Out: the stubs' bytes by their path in the repository, and the comment of every message, field, service and RPC by its full name.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

_KINDS = {4: "message_type", 6: "service"}
_MEMBERS = {4: "field", 6: "method"}


def run(root: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Stubs and comments of the protos under `root/proto`."""
    protos = sorted(path.relative_to(root / "proto").as_posix() for path in (root / "proto").rglob("*.proto"))
    services = [name for name in protos if name.endswith("_service.proto")]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        image = out / "image.binpb"
        _protoc(root, [f"--python_out={out}", f"--pyi_out={out}", f"--descriptor_set_out={image}", "--include_source_info"], protos)
        if services:
            _protoc(root, [f"--grpc_python_out={out}"], services)
        made = {f"services/{path.relative_to(out).as_posix()}": path.read_bytes() for path in sorted(out.rglob("*.py*"))}
        return made, _comments(descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()))


def _protoc(root: Path, options: list[str], protos: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *options, *protos], cwd=root / "proto", check=True)


def _comments(image: descriptor_pb2.FileDescriptorSet) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in image.file:
        if not file.package.startswith("kubetuner."):
            continue
        for location in file.source_code_info.location:
            if name := _named(file, list(location.path)):
                found[name] = " ".join(location.leading_comments.split())
    return found


def _named(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str | None:
    """Full name of what a source path points at, where it is a message, a service or a member of one."""
    if len(path) not in (2, 4) or path[0] not in _KINDS:
        return None
    outer = getattr(file, _KINDS[path[0]])[path[1]]
    if len(path) == 2:
        return f"{file.package}.{outer.name}"
    if path[2] != 2:
        return None
    return f"{file.package}.{outer.name}.{getattr(outer, _MEMBERS[path[0]])[path[3]].name}"
