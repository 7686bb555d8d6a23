"""The kind `mailing`: one mail through SMTP to every row of a list, and no row twice."""

import asyncio
import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from demo_input import Table, existing_file, read_table
from demo_journal import Journal
from demo_pace import Pace
from demo_services import running
from pydantic import Field

from jalebi import JobContext, JobFailed

if TYPE_CHECKING:
    from aiosmtplib import SMTP

MAX_RECIPIENTS: Final = 20_000
SMTP_SECONDS: Final = 30.0
#: How long a mail that is on its way may take once the job was told to stop.
LAST_MAIL_SECONDS: Final = 3.0
SHOWN_FAILURES: Final = 50
TEMPLATE: Final = """\
Dear {name},

this week there is fresh {favourite} in all our shops in {city}.

Your sweet shop
"""


@dataclass(frozen=True)
class Letter:
    """What goes to everybody: the texts with the names of columns in braces."""

    job_id: str
    sender: str
    subject: str
    template: str

    def written(self, to: Address, record: dict[str, str]) -> EmailMessage:
        """Return the mail to one recipient."""
        message = EmailMessage()
        message["From"], message["To"], message["Date"] = self.sender, to, localtime()
        message["Subject"] = " ".join(filled(self.subject, record).split())
        # Made of the job and the address and nothing else, so that another attempt gives the same one.
        digest = hashlib.sha256(to.addr_spec.casefold().encode()).hexdigest()[:24]
        message["Message-ID"] = f"<{self.job_id}.{digest}@jalebi.demo>"
        message.set_content(filled(self.template, record))
        return message


@dataclass(frozen=True)
class Row:
    """What became of one row of the list."""

    number: int
    address: str
    status: Literal["sent", "sent before", "duplicate", "invalid", "refused"]
    detail: str = ""
    message_id: str = ""


async def mailing(
    ctx: JobContext,
    recipients: Annotated[
        str, Field(description="Path of a CSV with a column `email`, on the server. Empty: 200 made-up customers.")
    ] = "",
    subject: Annotated[
        str, Field(description="May name columns in braces, as the text may.", min_length=1, max_length=200)
    ] = "Fresh {favourite} for you",
    template: Annotated[
        str, Field(description="The text; {name} becomes the row's value of the column `name`.", max_length=20_000)
    ] = TEMPLATE,
    sender: Annotated[str, Field(description="The address it comes from.", max_length=200)] = "shop@sweets.example",
    per_second: Annotated[float, Field(description="At most so many mails a second.", ge=0.1, le=1000)] = 20,
    smtp: Annotated[
        str, Field(description='The mail server, as "host:port". Empty: the demo\'s own, which keeps what it gets.')
    ] = "",
) -> dict[str, Any]:
    """Send a mail to every row of a list.

    An address that is wrong or refused is reported and the others go on; where the mail server is lost, the attempt
    fails and the next one goes on from there. A retried job does not send a row again: what was sent is kept in a
    journal by job. Only a mail that was on its way when a process died may come twice, under the same Message-ID.
    """
    source = existing_file(recipients, "recipients.csv")
    host, port = server_address(smtp or running.smtp)
    table = await asyncio.to_thread(read_table, source)
    column = checked(table, sender, subject, template)
    with Journal(ctx.job_id) as journal:
        tour = Tour(ctx, Letter(ctx.job_id, sender, subject, template), journal, Pace(ctx, per_second))
        await tour.through(table.records(), column, host, port)
    ctx.attach(_as_csv(tour.rows), "mailing.csv", "text/csv")
    if not smtp and running.web:
        ctx.log(f"The demo's mail server shows what came in at {running.web}/mailbox")
    return summary(tour.rows)


def server_address(named: str) -> tuple[str, int]:
    """Return the host and the port of "host:port"."""
    if not named:
        raise JobFailed("The demo's mail server runs inside the server only; name one in `smtp`, or use `jalebi demo`.")
    host, _, port = named.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise JobFailed(f"{named!r} is no mail server; write it as host:port.", retry=False)
    return host.strip("[]"), int(port)


def checked(table: Table, sender: str, subject: str, template: str) -> str:
    """Return the name of the column with the addresses; find mistakes before the first mail goes out."""
    if len(table.rows) > MAX_RECIPIENTS:
        raise JobFailed(f"The list has more than {MAX_RECIPIENTS} rows.", retry=False)
    column = next((name for name in table.columns if name.lower() in {"email", "e-mail", "mail", "address"}), None)
    if column is None:
        raise JobFailed(f"The list needs a column `email`; it has {', '.join(table.columns)}.", retry=False)
    filled(subject + template, dict.fromkeys(table.columns, ""))
    try:
        parsed_address(sender)
    except ValueError as error:
        raise JobFailed(f"The sender {sender!r} can't be used: {error}.", retry=False) from error
    return column


def filled(template: str, record: dict[str, str]) -> str:
    """Put a row's values in; only names of columns are known in braces, so a template can't reach anything else."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in record:
            raise JobFailed(f"The list has no column {match[1]!r}; it has {', '.join(record)}.", retry=False)
        return record[match[1]]

    return re.sub(r"\{([^{}\n]{1,100})\}", value, template)


def parsed_address(address: str) -> Address:
    """Return a mail address that is one in form. Raises ValueError with a reason."""
    if not address.isascii():
        raise ValueError("addresses beyond ASCII are not supported here")
    try:
        parsed = Address(addr_spec=address)
    except Exception as error:  # the standard library's parser raises several kinds
        raise ValueError("it is not a mail address") from error
    if not parsed.domain or not parsed.username:
        raise ValueError("it is not a mail address")
    return parsed


class Tour:
    """One attempt's way through the list."""

    def __init__(self, ctx: JobContext, letter: Letter, journal: Journal, pace: Pace) -> None:
        self.rows: list[Row] = []
        self._ctx = ctx
        self._letter = letter
        self._journal = journal
        self._pace = pace
        self._met: set[str] = set()

    async def through(self, records: list[dict[str, str]], column: str, host: str, port: int) -> None:
        """Go to each recipient. Raises JobFailed where the server is lost."""
        # Here and not above: every process that runs any kind imports this module.
        from aiosmtplib import SMTP, SMTPException, SMTPSenderRefused

        server = SMTP(hostname=host, port=port, timeout=SMTP_SECONDS)
        try:
            await server.connect()
            for number, record in enumerate(self._ctx.track(records, unit="mails"), start=1):
                row = await self._visit(server, number, record[column], record)
                self.rows.append(row)
                if row.status in {"refused", "invalid"}:
                    self._ctx.log(f"Row {number}, {row.address}: {row.detail}", "warning")
            with suppress(SMTPException, OSError):
                await server.quit()
        except (SMTPException, OSError) as error:
            sent = sum(row.status == "sent" for row in self.rows)
            message = f"The mail server {host}:{port} failed after {sent} mails: {error}"
            raise JobFailed(message, retry=not isinstance(error, SMTPSenderRefused)) from error
        finally:
            server.close()

    async def _visit(self, server: "SMTP", number: int, address: str, record: dict[str, str]) -> Row:
        # A list whose mails were all sent before would else keep the loop to itself.
        await asyncio.sleep(0)
        try:
            message = self._letter.written(parsed_address(address), record)
        except ValueError as error:
            return Row(number, address, "invalid", str(error))
        message_id = str(message["Message-ID"])
        if message_id in self._met:
            return Row(number, address, "duplicate", "the list has this address before", message_id)
        self._met.add(message_id)
        if message_id in self._journal.sent:
            return Row(number, address, "sent before", "by an earlier attempt", message_id)
        if not await self._pace.wait():
            self._ctx.raise_if_cancelled()
        refusal = await undivided(self._send(server, message, address))
        return Row(number, address, "refused" if refusal else "sent", refusal, message_id)

    async def _send(self, server: "SMTP", message: EmailMessage, address: str) -> str:
        """Send one mail and note it; return why it was refused, or nothing."""
        from aiosmtplib import SMTPDataError, SMTPRecipientsRefused

        try:
            await server.send_message(message, sender=self._letter.sender, recipients=[address])
        except SMTPRecipientsRefused as error:
            return f"{error.recipients[0].code} {error.recipients[0].message}"[:300]
        except SMTPDataError as error:
            return f"{error.code} {error.message}"[:300]
        self._journal.add(str(message["Message-ID"]))
        return ""


async def undivided(sending: Coroutine[Any, Any, str]) -> str:
    """Let a mail that is on its way arrive, and be noted, before a cancel takes effect."""
    task = asyncio.ensure_future(sending)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=LAST_MAIL_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise


def summary(rows: list[Row]) -> dict[str, Any]:
    """Return what became of the mailing, with the first failures."""
    counts = Counter(row.status for row in rows)
    failures = [row for row in rows if row.status in {"refused", "invalid"}]
    return {
        "recipients": len(rows),
        "sent": counts["sent"],
        "sent_before": counts["sent before"],
        "duplicates": counts["duplicate"],
        "failed": len(failures),
        "failures": [
            {"row": row.number, "email": row.address[:200], "reason": row.detail} for row in failures[:SHOWN_FAILURES]
        ],
    }


def _as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "email", "status", "detail", "message_id"])
    writer.writerows([row.number, row.address, row.status, row.detail, row.message_id] for row in rows)
    return text.getvalue().encode()
