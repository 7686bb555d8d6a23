"""The messages of webhooks: written in the transaction of what they tell, delivered later, with every try kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection, literal_column, select, text
from sqlmodel import SQLModel

from jalebi.errors import NotFound, ValidationFailed
from jalebi.events import encode
from jalebi.store.tables import DeliveryRow, DeliveryTryRow, EndpointRow
from jalebi.store.tx import Op, Tx

_delivery_t = SQLModel.metadata.tables[str(DeliveryRow.__tablename__)]
_try_t = SQLModel.metadata.tables[str(DeliveryTryRow.__tablename__)]
_endpoint_t = SQLModel.metadata.tables[str(EndpointRow.__tablename__)]
#: Hosts that are looked at in one go.
MOST_HOSTS: Final = 1000
_HOSTS: Final = text(
    "WITH RECURSIVE found(host) AS (SELECT min(host) FROM delivery WHERE state = 'pending' UNION ALL "
    "SELECT (SELECT min(host) FROM delivery WHERE state = 'pending' AND host > found.host) "
    "FROM found WHERE found.host IS NOT NULL) "
    "SELECT host, (SELECT min(next_at) FROM delivery AS d WHERE d.state = 'pending' AND d.host = found.host) "
    "FROM found WHERE host IS NOT NULL ORDER BY random() LIMIT :most"
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a webhook: about a job or about a batch, with the body that is sent (JSON text)."""

    id: str
    event: str
    url: str
    body: str
    job_id: str | None = None
    batch: str | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """One try to deliver: when (Unix seconds), how long it took, and the answer's status or the error."""

    at: float
    seconds: float
    status: int | None
    error: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message with how far it got: `pending` (tried again at `next_at`), `delivered` or `abandoned`.

    `tries` is how often it was tried since it was written or handed in again, `history` all tries, oldest first.
    """

    id: str
    event: str
    url: str
    body: str
    state: str
    tries: int
    next_at: float
    created_at: float
    ended_at: float | None
    history: tuple[Tried, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where webhooks go that have a secret of their own; the previous one signs too until `previous_until`."""

    id: str
    url: str
    secret: str
    previous: str | None
    previous_until: float | None
    created_at: float


def outbox(tx: Tx, messages: Sequence[Message]) -> None:
    """Store messages; they are due at once."""
    rows = [(one.id, one.job_id, one.batch, one.event, one.url, _host(one.url), one.body) for one in messages]
    tx.execute(
        "INSERT INTO delivery (id, job_id, batch, event, url, host, body, state, tries, next_at, created_at) "
        "SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, 'pending', 0, ?, ? "
        "FROM json_each(?)",
        tx.now, tx.now, encode(rows).decode(),
    )  # fmt: skip


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


@dataclass(eq=False)
class RecordTry(Op):
    """Write down a try, and what becomes of the message; answers whether it became that. Nothing where it is no more.

    `tries` and `due_at` are the message's as the try began: one that was handed in again meanwhile is to be sent again.
    """

    rank: ClassVar[int] = 60
    id: str
    tries: int
    due_at: float
    seconds: float
    status: int | None
    error: str | None
    answer: str | None
    state: str
    next_at: float

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[RecordTry]") -> list[Any]:
        """Keep each try, and move the messages that nobody has moved meanwhile."""
        answers: list[bool] = []
        for op in ops:
            changed = tx.execute(
                "UPDATE delivery SET state = ?, tries = tries + 1, next_at = ?, ended_at = ? "
                "WHERE id = ? AND state = 'pending' AND tries = ? AND next_at = ?",
                op.state, op.next_at, None if op.state == "pending" else tx.now, op.id, op.tries, op.due_at,
            )  # fmt: skip
            tx.execute(
                "INSERT INTO delivery_try (delivery_id, number, at, seconds, status, error, answer) "
                "SELECT id, 1 + coalesce((SELECT max(number) FROM delivery_try WHERE delivery_id = id), 0), "
                "?, ?, ?, ?, ? FROM delivery WHERE id = ?",
                tx.now - op.seconds, op.seconds, op.status, op.error, op.answer, op.id,
            )  # fmt: skip
            answers.append(bool(changed.rowcount))
        return answers


@dataclass(eq=False)
class Redeliver(Op):
    """Hand a message of a job or a batch in again; raises NotFound where there is none."""

    rank: ClassVar[int] = 61
    about: str
    id: str

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Redeliver]") -> list[Any]:
        """Make each message due at once, with all its tries before it."""
        answers: list[Any] = []
        for op in ops:
            changed = tx.execute(
                "UPDATE delivery SET state = 'pending', tries = 0, next_at = ?, ended_at = NULL "
                "WHERE id = ? AND (job_id = ? OR batch = ?)",
                tx.now, op.id, op.about, op.about,
            )  # fmt: skip
            answers.append(None if changed.rowcount else NotFound(f"There is no delivery {op.id}."))
        return answers


@dataclass(eq=False)
class AddEndpoint(Op):
    """Store an endpoint; raises ValidationFailed where its URL has one."""

    rank: ClassVar[int] = 62
    endpoint: Endpoint

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[AddEndpoint]") -> list[Any]:
        """Write each whose URL is new."""
        answers: list[Any] = []
        for op in ops:
            one = op.endpoint
            added = tx.execute(
                "INSERT INTO endpoint (id, url, secret, created_at) SELECT ?, ?, ?, ? "
                "WHERE NOT EXISTS (SELECT 1 FROM endpoint WHERE url = ?)",
                one.id, one.url, one.secret, one.created_at, one.url,
            )  # fmt: skip
            detail = "There is an endpoint for it; rotate its secret."
            answers.append(None if added.rowcount else ValidationFailed([{"pointer": "/url", "detail": detail}]))
        return answers


@dataclass(eq=False)
class RotateEndpoint(Op):
    """Give an endpoint a new secret; answers with it as it is then. Raises NotFound.

    In one transaction: of two rotations at the same moment, the second must find the secret of the first.
    """

    rank: ClassVar[int] = 63
    id: str
    secret: str
    overlap: float

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[RotateEndpoint]") -> list[Any]:
        """Put each secret in the place of the one before, which signs too for `overlap` seconds."""
        answers: list[Any] = []
        for op in ops:
            row = tx.execute(
                "UPDATE endpoint SET previous = secret, secret = ?, previous_until = ? WHERE id = ? "
                "RETURNING id, url, secret, previous, previous_until, created_at",
                op.secret, tx.now + op.overlap, op.id,
            ).fetchone()  # fmt: skip
            answers.append(_no_endpoint(op.id) if row is None else Endpoint(*row))
        return answers


@dataclass(eq=False)
class RemoveEndpoint(Op):
    """Forget an endpoint; raises NotFound where there is none."""

    rank: ClassVar[int] = 64
    id: str

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[RemoveEndpoint]") -> list[Any]:
        """Delete each."""
        return [
            None if tx.execute("DELETE FROM endpoint WHERE id = ?", op.id).rowcount else _no_endpoint(op.id)
            for op in ops
        ]


def _no_endpoint(endpoint_id: str) -> NotFound:
    return NotFound(f"There is no endpoint {endpoint_id}.")


def hosts(connection: Connection) -> list[tuple[str, float]]:
    """Return the hosts to which messages are to go, each with the time (Unix seconds) of the first of them.

    Of very many, some, and others the next time. From host to host by the index: there may be very many messages.
    """
    return [(host, float(first)) for host, first in connection.execute(_HOSTS, {"most": MOST_HOSTS})]


def due(connection: Connection, *, host: str, now: float, most: int, without: Sequence[str]) -> list[Delivery]:
    """Return messages to a host that are due, the longest first, without those named."""
    query = (
        select(_delivery_t)
        .where(literal_column("state = 'pending'"), _delivery_t.c.host == host, _delivery_t.c.next_at <= now)
        .where(_delivery_t.c.id.not_in(without))
        .order_by(_delivery_t.c.next_at)
        .limit(most)
    )
    return [_delivery(row) for row in connection.execute(query)]


def of(connection: Connection, about: str) -> list[Delivery]:
    """Return the messages about a job or a batch, oldest first, with all their tries."""
    query = select(_delivery_t).where((_delivery_t.c.job_id == about) | (_delivery_t.c.batch == about))
    rows = connection.execute(query.order_by(_delivery_t.c.created_at, _delivery_t.c.id)).all()
    tries: dict[str, list[Tried]] = {}
    of_these = _try_t.c.delivery_id.in_([row.id for row in rows])
    for row in connection.execute(select(_try_t).where(of_these).order_by(_try_t.c.number)):
        tries.setdefault(row.delivery_id, []).append(Tried(row.at, row.seconds, row.status, row.error, row.answer))
    return [_delivery(row, tuple(tries.get(row.id, ()))) for row in rows]


def _delivery(row: Any, history: tuple[Tried, ...] = ()) -> Delivery:
    return Delivery(
        row.id, row.event, row.url, row.body, row.state, row.tries, row.next_at, row.created_at, row.ended_at, history
    )


def endpoints(connection: Connection) -> list[Endpoint]:
    """Return all endpoints that have a secret of their own, by URL."""
    query = select(_endpoint_t).order_by(_endpoint_t.c.url)
    return [
        Endpoint(row.id, row.url, row.secret, row.previous, row.previous_until, row.created_at)
        for row in connection.execute(query)
    ]
