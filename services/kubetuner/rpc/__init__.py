"""Servers and jobs, written once for all rooms."""
