"""Accelerate's only door: device, precision, loss scaling and the sum over ranks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from kubetuner.diffusion.precision import dtype_name
from kubetuner.train.core import company

_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


class Compute:
    """One process of a training, alone or one of several started by torchrun."""

    def __init__(
        self,
        *,
        device: torch.device,
        dtype: torch.dtype,
        cancelled: threading.Event | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Waits until all processes are there, which `note` is told; `cancelled` ends that, and bounds all later waits for others."""
        self._cancelled = cancelled or threading.Event()
        company.meet(device, self._cancelled, note)
        # Accelerate keeps one precision for the whole process; a server trains runs of several, one after the other.
        AcceleratorState._reset_state(reset_partial_state=False)
        self._accelerator = Accelerator(mixed_precision=_MIXED[dtype_name(dtype)], cpu=device.type == "cpu")
        self.device: torch.device = self._accelerator.device
        self.dtype = dtype
        self.rank = int(self._accelerator.process_index)
        self.ranks = int(self._accelerator.num_processes)
        # Words between the ranks' processes go over the CPU: on the device they would make each step wait for the one before.
        self._talk = torch.distributed.new_group(backend="gloo", timeout=company.ANSWER) if self.ranks > 1 else None

    def prepare(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """The optimizer with loss scaling where fp16 needs it."""
        prepared: torch.optim.Optimizer = self._accelerator.prepare_optimizer(optimizer)
        return prepared

    def autocast(self) -> AbstractContextManager[None]:
        """Where the forward pass happens."""
        context: AbstractContextManager[None] = self._accelerator.autocast()
        return context

    def backward(self, loss: torch.Tensor) -> None:
        """Add the loss's gradients to those there are."""
        self._accelerator.backward(loss)

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients over the ranks. Each rank may have had another number of batches, which DDP's hooks could not bear."""
        if self.ranks == 1:
            return
        parameters = list(parameters)
        for parameter in parameters:
            if parameter.grad is None:  # this rank had no batch in this step
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.reshape(-1) for parameter in parameters if parameter.grad is not None])
        self._sum(flat)
        for parameter, part in zip(parameters, flat.split([parameter.numel() for parameter in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """A number summed over the ranks."""
        if self.ranks > 1:
            self._sum(value)
        return value

    def _sum(self, value: torch.Tensor) -> None:
        if value.device.type == "cpu":
            self._wait(torch.distributed.all_reduce(value, async_op=True))
        else:
            torch.distributed.all_reduce(value)  # the device waits, not this process; that one notices when it next asks the others

    def clip(self, parameters: list[torch.nn.Parameter], method: str, limit: float) -> torch.Tensor:
        """Clip gradients by `norm` or `value` (0 clips nothing); returns their norm before."""
        self._accelerator.unscale_gradients()
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        if limit > 0 and method == "norm":
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        elif limit > 0:
            torch.nn.utils.clip_grad_value_(parameters, limit)
        return norm

    def scaler_state(self) -> dict[str, float]:
        """State of fp16's loss scaling; empty in other precisions."""
        scaler = self._accelerator.scaler
        return {} if scaler is None else dict(scaler.state_dict())

    def load_scaler_state(self, state: dict[str, float]) -> None:
        """Go on with a saved loss scaling."""
        if state and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)

    def any(self, flag: bool) -> bool:
        """Whether any rank says so; all ranks ask together and get the same answer."""
        if self._talk is None:
            return flag
        said = torch.tensor([int(flag)])
        self._wait(torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX, group=self._talk, async_op=True))
        return bool(said.item())

    def wait(self) -> None:
        """Until all ranks are here."""
        if self._talk is not None:
            self._wait(torch.distributed.barrier(group=self._talk, async_op=True))

    def _wait(self, work: object) -> None:
        company.wait(work, self._cancelled)
