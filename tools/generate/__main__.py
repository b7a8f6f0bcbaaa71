"""`python -m tools.generate [--check]`, from the repository's root with `services` on PYTHONPATH.

In: `proto/`. Out: stubs under `services/`, the CRD under `charts/kubetuner/files/`, `docs/fields.md`. With `--check` nothing is written,
and the exit code is 1 where a file differs from what would be written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.generate import protoc

CRD = "charts/kubetuner/files/trainingruns.kubetuner.dev.yaml"
FIELDS = "docs/fields.md"


def main() -> int:
    """Write or check all generated files; the stubs come first, since the rest is read from them."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a generated file differs")
    check = parser.parse_args().check
    root = Path.cwd()
    made, comments = protoc.run(root)
    differing = _settle(root, made, check) + _stale(root, made, check)
    if not (check and differing):
        from tools.generate import crd, fields

        pages = {CRD: crd.render(comments).encode(), FIELDS: fields.render(comments).encode()}
        differing += _settle(root, pages, check)
    for name in differing:
        print(f"{name}: {'differs from what the protos give; run `make generate`' if check else 'written'}")
    return 1 if check and differing else 0


def _settle(root: Path, made: dict[str, bytes], check: bool) -> list[str]:
    """Names of the files that differ; they are written unless only checked."""
    differing = [name for name, data in made.items() if not (root / name).is_file() or (root / name).read_bytes() != data]
    for name in differing if not check else []:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(made[name])
    return differing


def _stale(root: Path, made: dict[str, bytes], check: bool) -> list[str]:
    """Stubs of protos that are gone; they are deleted unless only checked."""
    found = [str(path.relative_to(root)) for path in (root / "services").rglob("*_pb2*.py*") if "__pycache__" not in path.parts]
    stale = sorted(set(found) - set(made))
    for name in stale if not check else []:
        (root / name).unlink()
    return stale


sys.exit(main())
