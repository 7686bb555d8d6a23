"""Ids that grow with time: UUIDv7 (RFC 9562), strictly increasing within a process."""

import os
import threading
import time

_lock = threading.Lock()
_last = 0
# Taken from the system a page at a time: each call gives up the interpreter lock, and another thread may keep it.
_random = memoryview(b"")


def new_id(at: float | None = None) -> str:
    """Return a UUIDv7 whose first 48 bits are the Unix time `at` (default now) in milliseconds."""
    global _last, _random
    milliseconds = int((time.time() if at is None else at) * 1000)
    with _lock:
        # 48 bits of time and 12 of a counter; should the clock stand still or go back, the counter carries over.
        stamp = max(milliseconds << 12, _last + 1)
        _last = stamp
        if not _random:
            _random = memoryview(os.urandom(4096))
        noise, _random = int.from_bytes(_random[:8]), _random[8:]
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62
    value |= noise & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_time(value: str) -> float:
    """Return the Unix time in a UUIDv7."""
    return int(value[:8] + value[9:13], 16) / 1000


def _forget() -> None:
    """Drop what is left of the page: a copy of the process must not give the same ids."""
    global _random
    _random = memoryview(b"")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
