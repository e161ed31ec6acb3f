"""Keys that stores get wrong, by what is wrong with them.

The same that `objectstorage doctor` tries.
"""

from objectstorage._doctor.hostile import GROUPS, NO_KEYS, ORDER, independent, split

__all__ = ["GROUPS", "NO_KEYS", "ORDER", "independent", "split"]
