"""Tests for stores, for whoever writes one: the contract as code.

`suite.StorageSuite` is a pytest class to subclass, `stateful.run_machine` a
random walk against a dict, `servers` starts real S3 servers. Needs the extra
`testing` (pytest and hypothesis).
"""

import pytest

# Before the suite's modules are imported: its asserts then explain themselves.
pytest.register_assert_rewrite("objectstorage.testing.suite", "objectstorage.testing.stateful")
