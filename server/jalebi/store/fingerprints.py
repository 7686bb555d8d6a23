"""Which errors are the same: a fingerprint leaves out what differs from one occurrence to the next."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

_FRAME: Final = re.compile(r'^ *File "(?P<file>[^"\n]*)", line \d+, in (?P<name>.+)$', re.MULTILINE)
#: What differs: quoted texts, ids, addresses and numbers.
_PARTICULAR: Final = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F-]{16,}\b|\d+(?:[.,:]\d+)*")
_MOST: Final = 500


def fingerprint(kind: str, error: Mapping[str, Any]) -> str:
    """Return the fingerprint of a failed attempt's error: of its kind, its type, and where it was raised.

    The place is the file and the function of the last frame, without the line, so that an edit above it does not make
    it another error. Where there is no traceback the message counts, without what is particular in it.
    """
    frames = _FRAME.findall(str(error.get("traceback") or ""))
    if frames:
        file, name = frames[-1]
        where = f"{file.replace(chr(92), '/').rpartition('/')[2]}:{name}"
    else:
        where = _PARTICULAR.sub("#", str(error.get("message") or "")[:_MOST])
    about = "\n".join((kind, str(error.get("type") or ""), where))
    return hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest()[:16]
