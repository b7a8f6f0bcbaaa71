"""evaluate: what a training has learnt, in images and scores beside the base model, and files that are proved to load."""
