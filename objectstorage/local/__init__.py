"""What the two stores on local files share.

Read in this order: `ops` (the operations on files), `confine` (resolving below
a root), `tree` (directories), `locks`, `atomic` (the write protocol),
`durable` (which directories are on disk), `root` (one store's directory),
`walk` (ordered listing), `store` (all of it as a `Storage`).
"""

import sys

from objectstorage.errors import ErrUnsupported

if sys.platform not in ("linux", "darwin"):
    raise ErrUnsupported(f"stores on local files need Linux or macOS, not {sys.platform}")
