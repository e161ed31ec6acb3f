"""The process's memory, in bytes."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys

__all__ = ["peak_memory", "release", "reset_peak", "resident_memory"]


def release() -> None:
    """Give what is free back to the system: memory reused would not count as growth."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def reset_peak() -> bool:
    """Forget the peak so far; whether the system can (Linux can)."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def peak_memory() -> int:
    """The most that was resident since the last reset, or since the start."""
    if (peak := _status("VmHWM:")) is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident_memory() -> int:
    """What is resident now; the peak where the system does not say."""
    resident = _status("VmRSS:")
    return peak_memory() if resident is None else resident


def _status(field: str) -> int | None:
    if not os.path.exists("/proc/self/status"):
        return None
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None
