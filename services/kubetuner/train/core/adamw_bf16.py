"""AdamW on weights kept in bf16, with what rounding takes from them kept beside.

A weight is the sum of two bf16 numbers, as in Kahan's summation (Zamirai et al. 2020, arXiv 2010.06192): the first is what the model
computes with, the second the rest that did not fit. The mean of squared gradients stays in fp32: with beta2 = 0.999 each step changes it
by a thousandth, which bf16 (a step of 1/256) would round away. 10 bytes a weight against AdamW's 12 in fp32, and gradients of 2 against 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import torch

_CHUNK: Final = 1 << 26
"""Elements that are updated at once: bounds the fp32 copies that an update needs."""


class AdamWBf16(torch.optim.Optimizer):
    """Loshchilov and Hutter's AdamW (arXiv 1711.05101), no randomness: a resumed run gets the same bits."""

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "steps": 0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """One update of all weights that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            group["steps"] += 1
            for weights in _chunks(group["params"]):
                self._update(weights, group)

    def _update(self, weights: list[torch.nn.Parameter], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        states = [self._state_of(weight) for weight in weights]
        rests, means, squares = ([state[name] for state in states] for name in ("rest", "mean", "square"))
        gradients = [weight.grad.float() for weight in weights if weight.grad is not None]
        mean = [old.float() for old in means]
        torch._foreach_lerp_(mean, gradients, 1 - beta1)
        torch._foreach_copy_(means, mean)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        divisor = torch._foreach_sqrt(squares)
        torch._foreach_div_(divisor, (1 - beta2 ** group["steps"]) ** 0.5)
        torch._foreach_add_(divisor, group["eps"])
        exact = [weight.float() + rest.float() for weight, rest in zip(weights, rests, strict=True)]
        torch._foreach_mul_(exact, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(exact, mean, divisor, -group["lr"] / (1 - beta1 ** group["steps"]))
        torch._foreach_copy_(weights, exact)
        torch._foreach_sub_(exact, [weight.float() for weight in weights])
        torch._foreach_copy_(rests, exact)

    def _state_of(self, weight: torch.nn.Parameter) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = self.state[weight]
        if not state:
            state["rest"] = torch.zeros_like(weight)
            state["mean"] = torch.zeros_like(weight)
            state["square"] = torch.zeros_like(weight, dtype=torch.float32)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but the mean of squares stays in fp32, which torch would cast to the weight's type."""
        super().load_state_dict(state_dict)
        order = [weight for group in self.param_groups for weight in group["params"]]
        for number, saved in state_dict["state"].items():
            weight = order[number]
            self.state[weight]["square"] = saved["square"].to(weight.device, torch.float32)


def _chunks(weights: Iterable[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    chunk: list[torch.nn.Parameter] = []
    for weight in weights:
        if weight.grad is None:
            continue
        if chunk and sum(one.numel() for one in chunk) + weight.numel() > _CHUNK:
            yield chunk
            chunk = []
        chunk.append(weight)
    if chunk:
        yield chunk
