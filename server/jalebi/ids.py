"""Ids that grow with time: UUIDv7 (RFC 9562), strictly increasing within a process."""

import os
import threading
import time
from typing import Final

_lock = threading.Lock()
_last = 0
# Taken from the system a page at a time: each call gives up the interpreter lock, and another thread may keep it.
_random: list[str] = []
_PAGE: Final = 4096
#: The first digit of the second half carries the variant, 0b10, in its upper two bits.
_VARIANT: Final = str.maketrans("0123456789abcdef", "89ab" * 4)


def new_id(at: float | None = None) -> str:
    """Return a UUIDv7 whose first 48 bits are the Unix time `at` (default now) in milliseconds."""
    global _last, _random
    milliseconds = int((time.time() if at is None else at) * 1000)
    with _lock:
        # 48 bits of time and 12 of a counter; should the clock stand still or go back, the counter carries over.
        stamp = max(milliseconds << 12, _last + 1)
        _last = stamp
        if not _random:
            page = os.urandom(_PAGE).hex()
            _random = [page[i : i + 16] for i in range(0, len(page), 16)]
        noise = _random.pop()
    when = f"{stamp:015x}"
    return f"{when[:8]}-{when[8:12]}-7{when[12:]}-{noise[0].translate(_VARIANT)}{noise[1:4]}-{noise[4:]}"


def id_time(value: str) -> float:
    """Return the Unix time in a UUIDv7."""
    return int(value[:8] + value[9:13], 16) / 1000


def _forget() -> None:
    """Drop what is left of the page: a copy of the process must not give the same ids."""
    global _random
    _random = []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
