"""The checks of `objectstorage.doctor`, by subject."""
