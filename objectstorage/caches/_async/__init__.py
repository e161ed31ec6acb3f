"""Caches, written once; the blocking twin beside it is generated."""
