"""Runs a command until it ends, or until whoever started this is gone.

Standard input is a pipe from the starter. When the starter closes it, or dies
in whatever way, the pipe ends and so does the command. Started as a file, so
that nothing but the standard library is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Run `command`; its exit status."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def watch() -> None:
        # not `sys.stdin`: its lock would be held when the interpreter ends
        while os.read(0, 1024):
            pass
        # Not terminate: what such a server holds is thrown away anyway.
        server.kill()

    threading.Thread(target=watch, daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
