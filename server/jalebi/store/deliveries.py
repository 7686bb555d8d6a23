"""The messages of webhooks: written in the transaction of what they tell, delivered later."""

from collections.abc import Sequence
from dataclasses import dataclass

from jalebi.events import encode
from jalebi.store.writer import Tx


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a webhook: about a job or about a batch, with the body that is sent (JSON text)."""

    id: str
    event: str
    url: str
    body: str
    job_id: str | None = None
    batch: str | None = None


def outbox(tx: Tx, messages: Sequence[Message]) -> None:
    """Store messages; they are due at once."""
    rows = [(one.id, one.job_id, one.batch, one.event, one.url, one.body) for one in messages]
    tx.execute(
        "INSERT INTO delivery (id, job_id, batch, event, url, body, state, tries, next_at, created_at) "
        "SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, 'pending', 0, ?, ? FROM json_each(?)",
        tx.now, tx.now, encode(rows).decode(),
    )  # fmt: skip
