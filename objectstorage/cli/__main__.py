"""`objectstorage COMMAND`: find the command, run it, turn errors into exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from objectstorage.cli import _registry
from objectstorage.cli._output import (
    EXIT_BROKEN_PIPE,
    EXIT_INTERRUPTED,
    Output,
    Usage,
    exit_code,
)
from objectstorage.cli._parser import EPILOG, command_parser
from objectstorage.cli._session import Session
from objectstorage.cli._warnings import warnings_to

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own; returns the exit code."""
    if argv is None:
        argv = sys.argv[1:]
        # so that what is unfinished is cleaned up, as after Ctrl-C
        for number in (signal.SIGTERM, signal.SIGHUP):
            # under nohup the latter is ignored, and stays so
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _terminated)
    for stream in (sys.stdout, sys.stderr):
        # a locale without some character is no reason to fail
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # known before the options are parsed, so that a usage error is JSON too
    options = argv[: argv.index("--")] if "--" in argv else argv
    out = Output(as_json="--json" in options)
    try:
        code = _run(argv, out)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt as exc:
        out.error(exc, EXIT_INTERRUPTED)
    except BrokenPipeError:
        out.code = EXIT_BROKEN_PIPE
    except SystemExit as exc:  # --help, and SIGTERM
        return exc.code if isinstance(exc.code, int) else 0
    except Exception as exc:
        if os.environ.get("OBJECTSTORAGE_DEBUG") == "1":
            raise
        out.error(exc, exit_code(exc))
    _drop_stdout_if_broken()
    return out.code


def _run(argv: Sequence[str], out: Output) -> int:
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        _help(out)
        return 0
    if name in ("-V", "--version"):
        from objectstorage import __version__

        out.line(f"objectstorage {__version__}")
        return 0
    if name not in _registry.COMMANDS:
        raise Usage(f"there is no command {name!r}; there are {', '.join(_registry.COMMANDS)}")
    rest = argv[1:]
    if name in _registry.GROUPS:
        members = _registry.GROUPS[name]
        member = rest[0] if rest else "--help"
        if member in ("-h", "--help"):
            _help(out, name)
            return 0
        if member not in members:
            raise Usage(f"there is no command '{name} {member}'; there are {', '.join(members)}")
        name, rest = f"{name} {member}", rest[1:]
    command = _registry.load(name)
    parser = command_parser(name, (command.__doc__ or "").strip())
    command.configure(parser)
    args = parser.parse(rest)
    out.quiet = args.quiet
    with warnings_to(out), Session(args) as session:
        code = command.run(args, session, out)
    return out.code if code is None else code


def _help(out: Output, group: str | None = None) -> None:
    command, commands = "COMMAND", _registry.COMMANDS
    if group is not None:
        command, commands = f"{group} COMMAND", _registry.GROUPS[group]
    out.line(f"usage: objectstorage {command} [OPTION]... ARGUMENT...")
    out.line("")
    out.line("Objects in folders, on S3 and in memory: exact, atomic, durable.")
    out.line("")
    out.line("commands:")
    width = max(map(len, commands))
    for name, text in commands.items():
        out.line(f"  {name:<{width}}  {text}")
    out.line("")
    out.line(f"'objectstorage {command} -h' tells a command's options.")
    out.line("")
    for line in EPILOG.splitlines():
        out.line(line)


def _terminated(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _drop_stdout_if_broken() -> None:
    """Flush; if that fails, let the interpreter's own flush at exit go nowhere."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


if __name__ == "__main__":
    sys.exit(main())
