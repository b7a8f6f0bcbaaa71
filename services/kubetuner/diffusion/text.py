"""Captions to what SDXL's U-Net listens to.

Letters of shapes: n captions, T = 77 tokens, D = 2048 channels (768 of the first encoder, 1280 of the second), P = 1280 pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from kubetuner.diffusion.load import TextEncoders

MAX_TOKENS = 77


@torch.no_grad()
def encode(encoders: TextEncoders, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Penultimate hidden states of both encoders side by side [n, T, D] and the second's pooled output [n, P].

    Each tokenizer pads in its own way (the second with "!"), as SDXL was trained (Podell et al. 2023, arXiv 2307.01952).
    """
    first = encoders.first(_tokens(encoders.first_tokenizer, captions).to(encoders.first.device), output_hidden_states=True)
    second = encoders.second(_tokens(encoders.second_tokenizer, captions).to(encoders.second.device), output_hidden_states=True)
    return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds


def _tokens(tokenizer: Any, captions: Sequence[str]) -> torch.Tensor:
    # Made a tensor here: the package asks of each number whether it is one already, which takes as long as all else.
    tokens = tokenizer(list(captions), padding="max_length", max_length=MAX_TOKENS, truncation=True, return_attention_mask=False)
    return torch.tensor(tokens["input_ids"])
