"""The data manager as it is written; `_sync` is generated from it."""
