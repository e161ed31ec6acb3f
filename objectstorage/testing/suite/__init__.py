"""`StorageSuite`: the storage contract as a pytest class. Subclass it.

    class TestMyStorage(StorageSuite):
        def open_store(self, place):
            return MyStorage(place)

`place` is a name that no other test uses; a store opened there a second time
has the same objects. Override the fixture `place` for a path or a URL, and the
attributes of `SuiteBase` where the store differs. There is nothing to skip:
what a store doesn't claim in its `capabilities` must be refused as the
contract says, and that is what the suite then asserts.
"""

from objectstorage.testing.suite.base import SuiteBase
from objectstorage.testing.suite.conditions import ConditionalWriting
from objectstorage.testing.suite.copying import Copying
from objectstorage.testing.suite.deleting import Deleting
from objectstorage.testing.suite.keys import Keys
from objectstorage.testing.suite.lifecycle import Lifecycle
from objectstorage.testing.suite.limits import Limits
from objectstorage.testing.suite.listing import Listing
from objectstorage.testing.suite.races import Races
from objectstorage.testing.suite.reading import Reading
from objectstorage.testing.suite.writers import Writers
from objectstorage.testing.suite.writing import Writing

__all__ = ["StorageSuite", "SuiteBase"]


class StorageSuite(
    Keys,
    Writing,
    Writers,
    ConditionalWriting,
    Reading,
    Listing,
    Deleting,
    Copying,
    Races,
    Limits,
    Lifecycle,
):
    """Every case of the contract."""
