"""What `objectstorage.sync` is made of."""
