"""The object store behind one face: put, get, head, list, delete."""

from kubetuner.storage.store import Content, ObjectStore, blocks, open_store

__all__ = ["Content", "ObjectStore", "blocks", "open_store"]
