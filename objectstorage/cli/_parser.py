"""Options and operands, in any order; `--` ends the options."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Sequence
from typing import NoReturn

from objectstorage.cli._output import Usage

__all__ = ["Parser", "command_parser", "name_value", "positive", "sequence"]

EPILOG = """\
addresses:
  s3://bucket/key      everything after the bucket is the key, literally
  posix:///dir/key     the store's root is found by its .objectstorage folder
  key                  in the store of --store, --profile or OBJECTSTORAGE_URL
  -                    standard input or output, in place of a file
  An argument that begins with a dash goes after --, as in: rm -- -key

Credentials come from the environment (AWS_*, MINIO_*) or a profile, never from
an address. Results go to standard output; progress, messages and errors (with
--json one object a line, too) to standard error.

exit codes:
  0 done; 1 failed, or some of several failed; 2 usage; 3 not found; 4 denied;
  5 unavailable after retries; 6 precondition failed, key taken or changed by
  another first; 7 refused for safety; 8 regression; 130 interrupted; 141 nobody reads the output
"""


class Parser(argparse.ArgumentParser):
    """One command's options; operands stand among them in any order."""

    def __init__(self, prog: str, description: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._operands: tuple[str, ...] = ()

    def operands(self, *names: str) -> None:
        """Declare the operands: `KEY`, `[PREFIX]` or `KEY...`.

        They arrive as the list `args.operands`.
        """
        self._operands = names
        self.usage = " ".join(["%(prog)s [OPTION]...", *names])

    def parse(self, argv: Sequence[str]) -> Namespace:
        """The options, and the operands as `operands`; `Usage` for what means nothing."""
        cut = argv.index("--") if "--" in argv else len(argv)
        args, rest = self.parse_known_args(argv[:cut])
        for word in rest:
            if word.startswith("-") and word != "-":
                # without the value, which may be a secret under a mistyped name
                raise Usage(f"there is no option {word.partition('=')[0]!r}; see {self.prog} -h")
        operands = [*rest, *argv[cut + 1 :]]
        least = sum(1 for name in self._operands if not name.startswith("["))
        many = any(name.rstrip("]").endswith("...") for name in self._operands)
        if len(operands) < least:
            raise Usage(f"usage: {self.prog} [OPTION]... {' '.join(self._operands)}")
        if len(operands) > len(self._operands) and not many:
            extra = operands[len(self._operands)]
            raise Usage(f"one argument too many: {extra!r}; see {self.prog} -h")
        args.operands = operands
        return args

    def error(self, message: str) -> NoReturn:
        """As `Usage`, so that there is one place that prints errors."""
        raise Usage(f"{message}; see {self.prog} -h")


def command_parser(name: str, description: str) -> Parser:
    """A parser with the options that every command has."""
    parser = Parser(f"objectstorage {name}", description)
    group = parser.add_argument_group("where")
    group.add_argument("--store", metavar="URL", help="the store of bare keys")
    group.add_argument("--profile", metavar="NAME", help="a table of the configuration file")
    group.add_argument("--endpoint", metavar="URL", help="where the S3 server is")
    group.add_argument("--region", metavar="NAME", help="the S3 region")
    group.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=name_value,
        help="any other option of the store, as in its URL's query",
    )
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="one JSON object a line")
    group.add_argument("-q", "--quiet", action="store_true", help="errors only on standard error")
    return parser


def name_value(text: str) -> tuple[str, str]:
    """`name=value` as a pair."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError("it is NAME=VALUE")
    return name, value


def positive(text: str) -> int:
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError("it is a whole number of at least 1")
    return number


def sequence(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("it is a whole number, 0 or more")
    return int(text)
