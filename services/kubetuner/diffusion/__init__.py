"""Stable Diffusion XL in plain torch and diffusers. A file imports torch only where it computes; this one imports nothing."""
