"""The state of a training after a step: taken in memory, written in the background, found again after a kill."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load

from kubetuner.artifacts import checkpoint, objects
from kubetuner.artifacts.checkpoint import Rotation, Saved
from kubetuner.artifacts.objects import Json
from kubetuner.diffusion.threads import give_way
from kubetuner.storage import Content, ObjectStore
from kubetuner.train.core.average import Average
from kubetuner.train.core.compute import Compute
from kubetuner.train.core.pace import Pace, Paced
from kubetuner.train.core.snapshot import Snapshot, Tensors
from kubetuner.train.core.trainable import Trainable

Row = dict[str, Any]
"""What is remembered of a step: step, epoch, loss, learningRate, gradNorm."""


class State:
    """All that changes from step to step. Random draws are functions of the step, so there is no generator among it."""

    def __init__(self, trainable: Trainable, optimizer: torch.optim.Optimizer, average: Average | None, compute: Compute) -> None:
        self._trainable, self._optimizer, self._average, self._compute = trainable, optimizer, average, compute
        self.history: list[Row] = []
        self._snapshots: dict[str, Snapshot] = {}

    def take(self) -> tuple[Json, dict[str, memoryview], list[Row]]:
        """A copy on the CPU, good until the next: what the index keeps, files of tensors, history."""
        tensors, plain = _flatten(self._optimizer.state_dict())
        files = {
            self._trainable.kind: self._copy(self._trainable.kind, self._trainable.state()),
            "optimizer": self._copy("optimizer", tensors),
        }
        if self._average is not None:
            files["ema"] = self._copy("ema", self._average.weights)
        return {"optimizer": plain, "scaler": self._compute.scaler_state()}, files, list(self.history)

    def restore(self, store: ObjectStore, saved: Saved) -> None:
        """Go on from a saved state."""

        def tensors(name: str) -> dict[str, torch.Tensor]:
            return load(objects.read(store, saved.ref, saved.index, f"{name}.safetensors"))

        self._trainable.load(tensors(self._trainable.kind))
        self._optimizer.load_state_dict(_unflatten(self._optimizer.state_dict(), tensors("optimizer"), saved.index["state"]["optimizer"]))
        if self._average is not None:
            self._average.load(tensors("ema"))
        self._compute.load_scaler_state(saved.index["state"]["scaler"])
        self.history = objects.read_json(store, saved.ref, saved.index, "history.json")

    def _copy(self, name: str, tensors: Tensors) -> memoryview:
        kept = self._snapshots.get(name)
        if kept is None or not kept.fits(tensors):
            kept = self._snapshots[name] = Snapshot(tensors)
        kept.take(tensors)
        return kept.data


class Writer:
    """Writes states one after the other off the step's path; a failure is raised at the next call."""

    def __init__(self, store: ObjectStore, training: str, rotation: Rotation, *, rest: float = 0.0) -> None:
        """`rest` in seconds for each second of work, as long as nobody waits."""
        self._store, self._training, self._rotation, self._rest = store, training, rotation, rest
        self._pace = Pace(rest)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def write(self, step: int, state: State, *, beside: bool = True) -> None:
        """Take the state now and write it: beside what goes on, or at once where there is nothing to go on with."""
        self.wait()
        index, files, history = state.take()
        self._pace = Pace(self._rest if beside else 0.0)
        data: dict[str, Content] = {f"{name}.safetensors": Paced(content, self._pace) for name, content in files.items()}
        if beside:
            self._thread = threading.Thread(target=self._run, args=(step, index, data, history), name="checkpoint")
            self._thread.start()
        else:
            self._save(step, index, data, history)

    def wait(self) -> None:
        """Until the last state is whole in the store."""
        if self._thread is not None:
            self._pace.hurry()
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self, step: int, index: Json, files: Mapping[str, Content], history: list[Row]) -> None:
        give_way(19)
        try:
            self._save(step, index, files, history)
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is the loop's to raise)
            self._error = error

    def _save(self, step: int, index: Json, files: Mapping[str, Content], history: list[Row]) -> None:
        rows = b"[%b]" % b",".join(map(objects.canonical, history))  # row by row: encoding holds Python's lock
        checkpoint.save(self._store, self._training, step, index, {**files, "history.json": rows})
        checkpoint.rotate(self._store, self._training, self._rotation)


def _flatten(state: Json) -> tuple[dict[str, torch.Tensor], Json]:
    """An optimizer's state as tensors named `<state or group>.<number>.<field>`, and all else under such names as JSON.

    Some optimizers keep counters in their groups, so these are kept too.
    """
    tensors: dict[str, torch.Tensor] = {}
    plain: Json = {}
    for kind, rows in (("state", state["state"].items()), ("group", enumerate(state["param_groups"]))):
        for number, fields in rows:
            for field, value in fields.items():
                name = f"{kind}.{number}.{field}"
                if isinstance(value, torch.Tensor):
                    tensors[name] = value
                elif field != "params":
                    plain[name] = value
    return tensors, plain


def _unflatten(fresh: Json, tensors: Mapping[str, torch.Tensor], plain: Json) -> Json:
    rows: dict[str, dict[int, Json]] = {"state": {}, "group": {}}
    for name, value in {**tensors, **plain}.items():
        kind, number, field = name.split(".", 2)
        rows[kind].setdefault(int(number), {})[field] = value
    groups = [{**group, **rows["group"].get(number, {})} for number, group in enumerate(fresh["param_groups"])]
    return {"state": rows["state"], "param_groups": groups}
