"""Ingest without any server around it; imports no torch."""
