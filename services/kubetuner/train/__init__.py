"""train: cache in, checkpoints out."""
