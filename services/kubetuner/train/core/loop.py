"""The training loop: forward, backward, step; nothing in it waits for the device but the figures, every few steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import torch
from diffusers import UNet2DConditionModel

from kubetuner import draws
from kubetuner.context import StageContext
from kubetuner.diffusion.objective import Objective
from kubetuner.diffusion.precision import memory_explained
from kubetuner.errors import Interrupted, TrainingError
from kubetuner.train.core.average import Average
from kubetuner.train.core.compute import Compute
from kubetuner.train.core.feed import Batch, Feed
from kubetuner.train.core.state import State, Writer
from kubetuner.train.core.trainable import Trainable
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

_FIGURES_EVERY: Final = 10


@dataclass(kw_only=True)
class Loop:
    """One training from a step to its end."""

    spec: TrainingRunSpec
    unet: UNet2DConditionModel
    trained: Trainable
    optimizer: torch.optim.Optimizer
    average: Average | None
    state: State
    compute: Compute
    objective: Objective
    rate: Callable[[int], float]
    steps_per_epoch: int
    writer: Writer
    ctx: StageContext
    pictures_of: Callable[[int], str]
    """Names of the pictures of a step, for errors."""
    _pending: list[tuple[int, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    _saved: int = -1

    def run(self, feed: Feed, steps: int) -> None:
        """All steps of the feed; the state after the last one, and where it is interrupted, is saved."""
        done = None
        try:
            for step, batches in feed:
                with memory_explained("lower train.batchSize or set train.gradientCheckpointing: true, and run again"):
                    self._step(step, batches)
                done = step + 1
                self.ctx.work["stepsTrained"] += 1
                if done % _FIGURES_EVERY == 0 or done == steps or done % self.spec.train.checkpoint.every_steps == 0:
                    self._settle()
                if done == steps or done % self.spec.train.checkpoint.every_steps == 0:
                    self._save(done, beside=done < steps)
                if done < steps and self.compute.any(self.ctx.cancelled.is_set()):
                    self.ctx.cancelled.set()  # another rank was asked
                    self.ctx.check()
        except Interrupted:
            if done is not None:
                self._settle()
                self._save(done, beside=False)
            raise
        finally:
            self.writer.wait()

    def _step(self, step: int, batches: list[Batch]) -> None:
        """One optimizer step. An interruption before its end leaves no trace in the weights."""
        loss = torch.zeros((), device=self.compute.device)
        for batch in batches:
            if self.compute.ranks == 1:  # several ranks stop together, at the end of a step
                self.ctx.check()
            loss += self._backward(step, batch.to(self.compute.device))
        parameters = list(self.trained.parameters.values())
        self.compute.sum_gradients(parameters)
        norm = self.compute.clip(parameters, self.spec.train.grad_clip_method, self.spec.train.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(step + 1, self.trained.state())
        self._pending.append((step, self.compute.sum(loss), norm))

    def _backward(self, step: int, batch: Batch) -> torch.Tensor:
        """Gradients of one batch, weighted by its share of the step's samples; returns its part of the loss."""
        # Dropout's draws are named by the batch, so that they do not depend on rank or on what went before.
        torch.manual_seed(draws.key(self.spec.seed, "dropout masks", step, batch.number) % 2**63)
        noisy = self.objective.schedule.add_noise(batch.clean, batch.seen_noise, batch.timesteps)
        with self.compute.autocast():
            prediction = self.unet(
                noisy.to(self.compute.dtype),
                batch.timesteps,
                encoder_hidden_states=batch.hidden.to(self.compute.dtype),
                added_cond_kwargs={"text_embeds": batch.pooled.to(self.compute.dtype), "time_ids": batch.time_ids},
                return_dict=False,
            )[0]
        loss = self.objective(prediction, batch.clean, batch.noise, batch.timesteps).mean() * batch.share
        self.compute.backward(loss)
        return loss.detach()

    def _settle(self) -> None:
        """Bring the figures of the last steps over from the device. Raises TrainingError before a state with NaN could be saved."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        losses = torch.stack([loss for _, loss, _ in pending]).tolist()
        norms = torch.stack([norm for _, _, norm in pending]).tolist()
        for (step, _, _), loss, norm in zip(pending, losses, norms, strict=True):
            if loss != loss or loss in (float("inf"), float("-inf")):
                raise TrainingError(
                    f"the loss of step {step + 1} is {loss} ({self.pictures_of(step)}); lower train.optimizer.learningRate, or use "
                    "mixedPrecision bf16 or fp32. No state with such weights was saved"
                )
            epoch = step // self.steps_per_epoch + 1
            self.state.history.append({"step": step + 1, "epoch": epoch, "loss": loss, "learningRate": self.rate(step), "gradNorm": norm})
        self.ctx.progress.advance(len(pending), loss=losses[-1], learning_rate=self.rate(pending[-1][0]))

    def _save(self, step: int, *, beside: bool) -> None:
        if self.compute.rank == 0 and step != self._saved:
            self.writer.write(step, self.state, beside=beside)
            self._saved = step
