"""Programs that tests need beside Python: there, or installed where root may."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess

import pytest


def needs(program: str, package: str) -> str:
    """The program's path; the test fails, and says what to install, if there is none.

    Root gets it installed from the system's packages, once for all that wait.
    """
    if shutil.which(program) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        with open("/var/lock/objectstorage-tests", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if shutil.which(program) is None:
                for command in (["update", "-qq"], ["install", "-y", "-qq", package]):
                    subprocess.run(["apt-get", *command], capture_output=True, check=False)
    found = shutil.which(program)
    if found is None:
        pytest.fail(f"this test needs {program}: apt-get install {package}")
    return found
