"""embed: manifest in, cache of text embeddings and latents out."""
