"""The controller measured on a real API server."""
