"""The two text encoders of the mini SDXL: CLIP's structure and vocabulary, trained until sentences about one emoji say the same.

No picture encoder stands against them: from what SDXL's U-Net will read (the last but one hidden layer of both, where a sentence ends and
in the padding behind it, and the pooled output of the second) two linear heads must tell which emoji is meant, and guess its picture in
rough. Words strewn in at random teach that a word never met changes nothing; the U-Net can still see it in the hidden states.

    python examples/mini-sdxl/text.py --model build/mini-sdxl/base
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from emoji import captions, catalogue, colour
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

TOKENIZERS = Path(__file__).parent / "model"
HIDDEN = (32, 64)
LAYERS = 3
ROUGH = 48  # numbers that stand for an emoji's picture
BATCH = 96
LEARNING_RATE = 2e-3
END_ID = 49407


def make_config(hidden: int, activation: str) -> CLIPTextConfig:
    """An encoder of `LAYERS` layers; SDXL's have 12 of 768 and 32 of 1280."""
    return CLIPTextConfig(
        vocab_size=END_ID + 1,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        projection_dim=hidden,
        num_hidden_layers=LAYERS,
        num_attention_heads=hidden // 16,
        max_position_embeddings=77,
        hidden_act=activation,
        layer_norm_eps=1e-5,
        bos_token_id=0,  # SDXL's own odd three: with end token 2 the pooled state is taken at the highest id, which is the end token
        eos_token_id=2,
        pad_token_id=1,
    )


class Judge(nn.Module):
    """Which emoji is meant, and its rough picture, from one vector."""

    def __init__(self, width: int, num_emoji: int) -> None:
        super().__init__()
        self.which, self.rough = nn.Linear(width, num_emoji), nn.Linear(width, ROUGH)

    def forward(self, states_BD: torch.Tensor, rows_B: torch.Tensor, rough_ER: torch.Tensor) -> torch.Tensor:
        """The loss."""
        guess = functional.mse_loss(self.rough(states_BD), rough_ER[rows_B])
        return functional.cross_entropy(self.which(states_BD), rows_B, label_smoothing=0.05) + guess


def rough_pictures() -> torch.Tensor:
    """Each emoji's picture at 12 x 12 as its first 48 principal components, [N, 48], the largest of unit deviation."""
    pictures = np.stack([np.asarray(colour(emoji.character).resize((12, 12))) for emoji in catalogue()]).reshape(len(catalogue()), -1) / 255
    centred = torch.from_numpy(pictures - pictures.mean(axis=0)).float()
    components = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:ROUGH].T
    return components / components[:, 0].std() * 2


def strew(sentence: str, words: list[str], draw: random.Random) -> str:
    """`sentence` with up to two words of the vocabulary put in anywhere."""
    parts = sentence.split(" ")
    for _ in range(draw.choice((0, 0, 1, 2))):
        parts.insert(draw.randrange(len(parts) + 1), draw.choice(words))
    return " ".join(parts)


def positions(tokens_BT: torch.Tensor, draw: torch.Generator) -> list[torch.Tensor]:
    """Where each sentence ends, and a place in the padding behind, each [B]."""
    end = (tokens_BT == END_ID).int().argmax(dim=1)
    behind = end + 1 + (torch.rand(len(end), generator=draw) * (76 - end)).long()
    return [end, behind.clamp(max=76)]


def train(model: Path, *, steps: int, seed: int = 0) -> tuple[CLIPTextModel, CLIPTextModelWithProjection, dict[str, float]]:
    """Train both encoders at once on the sentences of all emoji."""
    torch.manual_seed(seed)
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    tokenizers = [CLIPTokenizer.from_pretrained(str(model / name)) for name in ("tokenizer", "tokenizer_2")]
    words = _words(tokenizers[0])
    first, second = CLIPTextModel(make_config(HIDDEN[0], "quick_gelu")), CLIPTextModelWithProjection(make_config(HIDDEN[1], "gelu"))
    rough, sentences = rough_pictures(), [captions(emoji) for emoji in catalogue()]
    judges = nn.ModuleList(Judge(width, len(sentences)) for width in (HIDDEN[0], HIDDEN[0], HIDDEN[1], HIDDEN[1], HIDDEN[1]))
    parameters = [*first.parameters(), *second.parameters(), *judges.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        rows = torch.randint(len(sentences), (BATCH,), generator=generator)
        batch = [strew(draw.choice(sentences[row]), words, draw) for row in rows.tolist()]
        states = _states(first, second, tokenizers, batch, generator)
        loss = torch.stack([judge(state, rows, rough) for judge, state in zip(judges, states, strict=True)]).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1} loss {loss.item():.3f}", flush=True)
    return first, second, measure(first, second, judges, tokenizers, words)


def _words(tokenizer: CLIPTokenizer) -> list[str]:
    """All tokens that are words by themselves."""
    ends = [token.removesuffix("</w>") for token in tokenizer.get_vocab() if token.endswith("</w>")]
    return sorted(word for word in ends if word.isascii() and word.isalpha())


def _states(first: CLIPTextModel, second: CLIPTextModelWithProjection, tokenizers: list[CLIPTokenizer], batch: list[str],
            generator: torch.Generator) -> list[torch.Tensor]:  # fmt: skip
    """What the U-Net reads of each sentence: the first encoder's two places, the second's two, the pooled output; each [B, D]."""
    found = []
    for encoder, tokenizer in zip((first, second), tokenizers, strict=True):
        tokens = torch.tensor(tokenizer(batch, padding="max_length", max_length=77, truncation=True)["input_ids"])
        output = encoder(tokens, output_hidden_states=True)
        rows = torch.arange(len(batch))
        found += [output.hidden_states[-2][rows, place] for place in positions(tokens, generator)]
    return [*found, output.text_embeds]


@torch.no_grad()
def measure(
    first: CLIPTextModel,
    second: CLIPTextModelWithProjection,
    judges: nn.ModuleList,
    tokenizers: list[CLIPTokenizer],
    words: list[str],
) -> dict[str, float]:
    """Share of emoji that each head names rightly from a sentence never met: another wording with a word strewn in."""
    draw, generator = random.Random(1), torch.Generator().manual_seed(1)
    batch = [f"a {draw.choice(words)} emoji of {emoji.phrase}" for emoji in catalogue()]
    found = _states(first, second, tokenizers, batch, generator)
    rows = torch.arange(len(batch))
    right = [(judge.which(states).argmax(dim=1) == rows).float().mean().item() for judge, states in zip(judges, found, strict=True)]
    return dict(zip(("firstEnd", "firstPadding", "secondEnd", "secondPadding", "pooled"), right, strict=True))


@torch.no_grad()
def rescale(encoder: CLIPTextModel | CLIPTextModelWithProjection, tokenizer: CLIPTokenizer) -> None:
    """Give the last but one hidden layer unit deviation, and the pooled output too.

    What is computed stays the same: each layer normalises what it reads, so only the sum that layers add to has a scale.
    """
    batch = [sentence for emoji in catalogue()[::8] for sentence in captions(emoji)]
    tokens = torch.tensor(tokenizer(batch, padding="max_length", max_length=77, truncation=True)["input_ids"])
    output = encoder(tokens, output_hidden_states=True)
    factor = 1 / output.hidden_states[-2].std()
    for name, parameter in encoder.named_parameters():
        if "embedding" in name or "out_proj" in name or "fc2" in name:
            parameter *= factor
    if isinstance(encoder, CLIPTextModelWithProjection):
        encoder.text_projection.weight /= encoder(tokens).text_embeds.std()


def save(encoder: CLIPTextModel | CLIPTextModelWithProjection, folder: Path) -> None:
    """Config and weights in fp16; by hand, as transformers 5 drops the prefix `text_model.` that SDXL's files have."""
    encoder.config.architectures = [type(encoder).__name__]
    encoder.config.dtype = "float32"  # what a loader that is told none computes in, as it does with the other parts
    encoder.config.save_pretrained(folder)
    tensors = {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": tensor.half().contiguous()
        for name, tensor in encoder.state_dict().items()
        if not name.endswith("position_ids")
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Write tokenizers and trained encoders into the model's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--steps", type=int, default=800)
    arguments = parser.parse_args()
    began = time.monotonic()
    for tokenizer in ("tokenizer", "tokenizer_2"):  # CLIP's own, which nothing here changes
        shutil.copytree(TOKENIZERS / tokenizer, arguments.model / tokenizer, dirs_exist_ok=True)
    first, second, figures = train(arguments.model, steps=arguments.steps)
    for part, tokenizer, encoder in (("text_encoder", "tokenizer", first), ("text_encoder_2", "tokenizer_2", second)):
        rescale(encoder, CLIPTokenizer.from_pretrained(str(arguments.model / tokenizer)))
        save(encoder, arguments.model / part)
    figures |= {"steps": arguments.steps, "seconds": time.monotonic() - began}
    (arguments.model / "text_encoder_2" / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(figures)


if __name__ == "__main__":
    main()
