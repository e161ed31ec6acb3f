"""How `objectstorage.datamanager.db` does it."""
