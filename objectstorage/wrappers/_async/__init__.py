"""The wrappers as written; `objectstorage.wrappers.aio` has the names."""
