"""The nouns that pass between the rooms: manifest, cache, checkpoint, report. One noun a file."""
