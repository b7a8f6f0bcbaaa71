"""The object store behind one face: put, get, head, list, delete."""

from kubetuner.storage.store import ObjectStore, open_store

__all__ = ["ObjectStore", "open_store"]
