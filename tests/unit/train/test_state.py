"""States are written beside the training: as they were when they were taken, whole or not at all, one after the other."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from kubetuner.artifacts import checkpoint, objects
from kubetuner.artifacts.checkpoint import Rotation
from kubetuner.storage import Content
from kubetuner.storage.memory import MemoryStore
from kubetuner.train.core.average import Average
from kubetuner.train.core.compute import Compute
from kubetuner.train.core.optimizers import TABLE
from kubetuner.train.core.state import State, Writer
from kubetuner.train.core.trainable import Trainable
from kubetuner.v1alpha1.training_run_pb2 import Ema, Optimizer

TRAINING = "0" * 40
ALL = Rotation(every=1, last=9, keep=9)
SETTINGS = Optimizer(learning_rate=0.1, beta1=0.9, beta2=0.99, epsilon=1e-8, weight_decay=0.1)


class Training:
    """A few weights, and steps that change them."""

    def __init__(self, kind: str = "adamw") -> None:
        row = TABLE[kind]
        weights = {name: torch.nn.Parameter(torch.ones(4, 3, dtype=row.weights)) for name in ("b", "a")}
        trained = Trainable(kind="unet", parameters=weights)
        compute = Compute(device=torch.device("cpu"), dtype=torch.float32)
        self.weights = weights
        self.optimizer = compute.prepare(row.make(weights.values(), SETTINGS))
        self.average = Average(Ema(decay=0.9, update_interval=1, warmup_steps=0), trained.state())
        self.state = State(trained, self.optimizer, self.average, compute)

    def step(self, number: int) -> None:
        for weight in self.weights.values():
            weight.grad = torch.full_like(weight, float(number + 1))
        self.optimizer.step()
        self.average.update(number + 1, {name: weight.detach() for name, weight in self.weights.items()})
        self.state.history.append({"step": number + 1, "epoch": 1, "loss": 0.5 / (number + 1), "learningRate": 0.1, "gradNorm": 1.0})


class Slow(MemoryStore):
    """Keeps those who write waiting until it is let go, and notes how they are ranked."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.ranks: set[int] = set()

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        self.ranks.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        assert self.go.wait(120)
        return super().put(key, data, replace=replace, durable=durable)


class Full(MemoryStore):
    """Takes two objects and no more."""

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        if len(list(self.list())) == 2:
            raise OSError("no space left")
        return super().put(key, data, replace=replace, durable=durable)


def files(store: MemoryStore, step: int) -> dict[str, bytes]:
    ref = checkpoint.reference(TRAINING, step)
    index = objects.load(store, ref)
    return {row["name"]: objects.read(store, ref, index, row["name"]) for row in index["objects"]}


def undisturbed(steps: int) -> dict[str, bytes]:
    """The files of a state that nothing goes on beside."""
    store, training = MemoryStore(), Training()
    for number in range(steps):
        training.step(number)
    writer = Writer(store, TRAINING, ALL)
    writer.write(steps, training.state)
    writer.wait()
    return files(store, steps)


def test_a_state_is_written_as_it_was_while_the_training_goes_on() -> None:
    store, training = Slow(), Training()
    writer = Writer(store, TRAINING, ALL)
    training.step(0)
    writer.write(1, training.state)
    training.step(1)
    store.go.set()
    writer.write(2, training.state)  # into the memory of the first, which must be written by now
    writer.wait()
    assert files(store, 1) == undisturbed(1)
    assert files(store, 2) == undisturbed(2)
    assert min(store.ranks) > os.getpriority(os.PRIO_PROCESS, 0)


def test_a_state_that_is_waited_for_is_written_at_once() -> None:
    store, training = MemoryStore(), Training()
    writer = Writer(store, TRAINING, ALL, rest=1e8)
    training.step(0)
    writer.write(1, training.state)
    writer.wait()
    assert files(store, 1) == undisturbed(1)


def test_a_state_with_nothing_to_go_on_beside_is_written_by_the_loop_itself() -> None:
    store, training = Slow(), Training()
    store.go.set()
    training.step(0)
    Writer(store, TRAINING, ALL, rest=1e8).write(1, training.state, beside=False)
    assert files(store, 1) == undisturbed(1)
    assert store.ranks == {os.getpriority(os.PRIO_PROCESS, 0)}


@pytest.mark.parametrize("kind", sorted(TABLE))
def test_a_training_that_goes_on_from_a_state_goes_the_same_way(kind: str) -> None:
    store, whole, again = MemoryStore(), Training(kind), Training(kind)
    writer = Writer(store, TRAINING, ALL)
    for number in range(4):
        whole.step(number)
        writer.write(number + 1, whole.state)
    writer.wait()
    again.state.restore(store, checkpoint.saved(store, TRAINING)[1])
    for number in (2, 3):
        again.step(number)
    after = MemoryStore()
    last = Writer(after, TRAINING, ALL)
    last.write(4, again.state)
    last.wait()
    assert files(after, 4) == files(store, 4)


def test_of_a_state_that_cannot_be_written_whole_nothing_is_seen_and_the_loop_hears_of_it() -> None:
    store, training = Full(), Training()
    writer = Writer(store, TRAINING, ALL)
    training.step(0)
    writer.write(1, training.state)
    with pytest.raises(OSError, match="no space left"):
        writer.wait()
    assert len(list(store.list())) == 2
    assert checkpoint.saved(store, TRAINING) == []
    writer.wait()  # it is raised once
