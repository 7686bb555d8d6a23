"""Keys that an installation makes for itself, once, and keeps."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jalebi.store.tx import Op, Tx


@dataclass(eq=False)
class OwnKey(Op):
    """Answer with the key of that name, 32 bytes; the first who asks makes it."""

    rank: ClassVar[int] = 64
    name: str

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[OwnKey]") -> list[Any]:
        """Make what is missing."""
        answers: list[Any] = []
        for op in ops:
            tx.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", op.name, secrets.token_hex(32))
            found = tx.execute("SELECT value FROM meta WHERE name = ?", op.name).fetchone()[0]
            answers.append(bytes.fromhex(found))
        return answers
