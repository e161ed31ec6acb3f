"""Runs a command until it ends, or until whoever started this is gone.

    _guard.py HOME COMMAND …

Standard input is a pipe from the starter. When the starter closes it, or dies
in whatever way, the pipe ends, and so do the command and its directory HOME.
Started as a file, so that nothing but the standard library is imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading


def main(home: str, command: list[str]) -> int:
    """Run `command`; its exit status."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    gone = threading.Event()

    def watch() -> None:
        # not `sys.stdin`: its lock would be held when the interpreter ends
        while os.read(0, 1024):
            pass
        gone.set()
        # Not terminate: what such a server holds is thrown away anyway.
        server.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = server.wait()
    if gone.is_set():
        shutil.rmtree(home, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
