"""The published checkpoints that a run can name by one word."""

from __future__ import annotations

from typing import Final

HUB_IDS: Final = {
    "base-1.0": "stabilityai/stable-diffusion-xl-base-1.0",
    "base-0.9": "stabilityai/stable-diffusion-xl-base-0.9",
}
"""Hub repository of each flavour in the schema."""
