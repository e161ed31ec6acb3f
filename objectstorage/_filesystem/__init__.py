"""What the fsspec adapter is made of; `objectstorage.filesystem` is its public face."""
