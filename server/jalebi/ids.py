"""Ids that grow with time: UUIDv7 (RFC 9562), strictly increasing within a process."""

import os
import threading
import time

_lock = threading.Lock()
_last = 0


def new_id(at: float | None = None) -> str:
    """Return a UUIDv7 whose first 48 bits are the Unix time `at` (default now) in milliseconds."""
    global _last
    milliseconds = int((time.time() if at is None else at) * 1000)
    with _lock:
        # 48 bits of time and 12 of a counter; should the clock stand still or go back, the counter carries over.
        stamp = max(milliseconds << 12, _last + 1)
        _last = stamp
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62
    value |= int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
