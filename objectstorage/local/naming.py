"""How keys are names of files: what a layout must say."""

from __future__ import annotations

from typing import Protocol

from objectstorage.keys import KeyRules

__all__ = ["Naming"]


class Naming(Protocol):
    """One layout of keys as files.

    Listing works on *texts*: strings that sort as keys do. The text of an
    object is what its directories and its own name add up to. An *entry* is a
    name as listing sees it: what the name adds, and a `/` behind a directory's.
    """

    layout: str
    """Stands in the store's marker."""

    rules: KeyRules

    longest_path: int
    """Bytes of the longest path that a key can have."""

    plain: bool
    """Whether names and keys are their own texts."""

    folds_case_safely: bool
    """Whether a file system that folds case still holds all keys apart."""

    def path(self, key: str) -> bytes:
        """The file below the root; `ErrInvalidKey` if this layout can't hold the key."""

    def place(self, prefix: str) -> tuple[bytes, str, str] | None:
        """Where listing a prefix starts; None if no key can have the prefix.

        The directory that all such keys are in, its text, and the rest of the
        prefix as text.
        """

    def text(self, key: str) -> str:
        """The text of any string."""

    def entries(self, names: list[str], base: str) -> list[str]:
        """The names in the directory whose text is `base`, as entries.

        Directories' names have a `/` behind. Those that no key has are left out.
        """

    def adds(self, entry: str) -> str:
        """What the directory `entry` adds to the text."""

    def name(self, entry: str) -> str:
        """The name of the file or directory that `entry` was made of."""

    def key(self, text: str) -> str | None:
        """The key of an object's text; None if no key has it."""
