"""The kind `mailing`: mails that really arrive, each of them once."""

import asyncio
import re
from pathlib import Path
from typing import Any

import demo_mailbox
import pytest
from demo_journal import Journal
from demo_mailing import mailing
from demo_services import Services

from jalebi import JobContext, JobFailed
from jalebi.errors import JobStopped
from tests.examples.fake_link import FakeLink


@pytest.fixture
def three(tmp_path: Path) -> str:
    path = tmp_path / "three.csv"
    path.write_text("name,email\nAsha,asha@example.com\nBina,bina@example.com\nTara,tara@example.com\n")
    return str(path)


async def greet(ctx: JobContext, recipients: str, **options: Any) -> dict[str, Any]:
    texts: dict[str, Any] = {"subject": "Hello {name}", "template": "Dear {name}!", "per_second": 1000}
    return await mailing(ctx, recipients=recipients, **texts | options)


async def test_each_row_gets_its_own_mail(ctx: JobContext, demo: Services, three: str) -> None:
    result = await greet(ctx, three)
    assert result == {
        "recipients": 3, "sent": 3, "sent_before": 0, "duplicates": 0, "failed": 0, "failures": [],
    }  # fmt: skip
    assert [(mail.recipient, mail.subject, mail.text.strip()) for mail in demo.mailbox.last] == [
        ("asha@example.com", "Hello Asha", "Dear Asha!"),
        ("bina@example.com", "Hello Bina", "Dear Bina!"),
        ("tara@example.com", "Hello Tara", "Dear Tara!"),
    ]


async def test_the_sample_list_reports_its_bad_rows_and_the_others_arrive(
    ctx: JobContext, link: FakeLink, demo: Services
) -> None:
    result = await mailing(ctx, per_second=1000)
    assert demo.mailbox.received == result["sent"] == 195
    assert result["duplicates"] == 1
    assert [failure["row"] for failure in result["failures"]] == [38, 82, 119, 164]
    assert result["failures"][0]["reason"] == "it is not a mail address"
    assert result["failures"][2]["reason"].startswith("550 5.1.1")
    assert link.positions[-1] == (200, 200, None, "mails")
    report = link.files["mailing.csv"].decode().splitlines()
    assert report[0] == "row,email,status,detail,message_id"
    assert len(report) == 201


async def test_another_attempt_sends_nothing_twice(ctx: JobContext, demo: Services, three: str) -> None:
    await greet(ctx, three)
    again = await greet(ctx, three)
    assert (again["sent"], again["sent_before"], demo.mailbox.received) == (0, 3, 3)


async def test_another_job_sends_to_the_same_people(ctx: JobContext, demo: Services, three: str) -> None:
    await greet(ctx, three)
    ctx.job_id = "0199c0de-0000-7000-8000-000000000002"
    assert (await greet(ctx, three))["sent"] == 3
    assert len({mail.message_id for mail in demo.mailbox.last}) == 6


async def test_a_stopped_mailing_goes_on_where_it_was(ctx: JobContext, link: FakeLink, demo: Services) -> None:
    link.stop_at = 21
    with pytest.raises(JobStopped):
        await mailing(ctx, per_second=1000)
    assert demo.mailbox.received == 20
    link.stop_at = None
    result = await mailing(ctx, per_second=1000)
    assert (result["sent_before"], result["sent"], demo.mailbox.received) == (20, 175, 195)


async def test_a_mail_that_was_on_its_way_at_a_cancel_is_not_sent_again(
    ctx: JobContext, demo: Services, three: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arriving, let_in = asyncio.Event(), asyncio.Event()
    handle = demo_mailbox.Handler.handle_DATA

    async def slow(self: demo_mailbox.Handler, server: Any, session: Any, envelope: Any) -> str:
        arriving.set()
        await let_in.wait()
        return await handle(self, server, session, envelope)

    monkeypatch.setattr(demo_mailbox.Handler, "handle_DATA", slow)
    attempt = asyncio.create_task(greet(ctx, three))
    await arriving.wait()
    attempt.cancel()
    let_in.set()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert demo.mailbox.received == 1
    assert (await greet(ctx, three))["sent_before"] == 1
    assert [mail.recipient[:4] for mail in demo.mailbox.last] == ["asha", "bina", "tara"]


async def test_a_server_that_goes_away_fails_the_attempt_and_the_next_one_goes_on(
    ctx: JobContext, demo: Services, three: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = demo_mailbox.Handler.handle_DATA

    async def dying(self: demo_mailbox.Handler, server: Any, session: Any, envelope: Any) -> str:
        if demo.mailbox.received == 2:
            server.transport.abort()
        return await handle(self, server, session, envelope)

    monkeypatch.setattr(demo_mailbox.Handler, "handle_DATA", dying)
    with pytest.raises(JobFailed, match="failed after 2 mails") as caught:
        await greet(ctx, three)
    monkeypatch.setattr(demo_mailbox.Handler, "handle_DATA", handle)
    assert caught.value.retry
    assert (await greet(ctx, three))["sent_before"] == 2


async def test_a_server_that_can_not_be_reached_fails_the_attempt_so_that_a_retry_helps(
    ctx: JobContext, three: str, unused_port: int
) -> None:
    with pytest.raises(JobFailed, match=f"The mail server 127.0.0.1:{unused_port} failed after 0 mails") as caught:
        await greet(ctx, three, smtp=f"127.0.0.1:{unused_port}")
    assert caught.value.retry


async def test_without_a_server_of_its_own_the_demo_asks_for_one(ctx: JobContext, three: str) -> None:
    with pytest.raises(JobFailed, match="name one in `smtp`"):
        await greet(ctx, three)


@pytest.mark.parametrize("smtp", ["localhost", ":25", "localhost:", "localhost:0", "localhost:70000", "localhost:smtp"])
async def test_a_server_is_named_by_host_and_port(ctx: JobContext, three: str, smtp: str) -> None:
    with pytest.raises(JobFailed, match="write it as host:port") as caught:
        await greet(ctx, three, smtp=smtp)
    assert not caught.value.retry


@pytest.mark.parametrize("field", ["nick", "name.__class__", "name!r", "0", "name[0]"])
async def test_a_text_that_names_no_column_fails_before_the_first_mail(
    ctx: JobContext, demo: Services, three: str, field: str
) -> None:
    with pytest.raises(JobFailed, match=re.escape(f"no column '{field}'")) as caught:
        await greet(ctx, three, template=f"Dear {{{field}}}!")
    assert not caught.value.retry
    assert demo.mailbox.received == 0


async def test_what_a_row_holds_is_not_read_as_a_text_with_columns(
    ctx: JobContext, demo: Services, tmp_path: Path
) -> None:
    path = tmp_path / "sly.csv"
    path.write_text('name,email\n"{email}\nBcc: all@example.com",asha@example.com\n')
    await greet(ctx, str(path))
    assert [mail.subject for mail in demo.mailbox.last] == ["Hello {email} Bcc: all@example.com"]


async def test_a_list_without_addresses_fails_for_good(ctx: JobContext, demo: Services, tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("name,phone\nAsha,12\n")
    with pytest.raises(JobFailed, match="needs a column `email`; it has name, phone") as caught:
        await greet(ctx, str(path))
    assert not caught.value.retry


async def test_a_sender_that_is_no_address_fails_for_good(ctx: JobContext, demo: Services, three: str) -> None:
    with pytest.raises(JobFailed, match="The sender 'nobody' can't be used") as caught:
        await greet(ctx, three, sender="nobody")
    assert not caught.value.retry


def test_a_line_that_a_crash_cut_off_counts_as_not_sent(state: Path) -> None:
    with Journal("job") as journal:
        journal.add("<one@demo>")
    path = next(state.rglob("*.sent"))
    path.write_bytes(path.read_bytes() + b"<two@de")
    with Journal("job") as journal:
        assert journal.sent == {"<one@demo>"}
        journal.add("<three@demo>")
    with Journal("job") as journal:
        assert {"<one@demo>", "<three@demo>"} <= journal.sent
        assert "<two@demo>" not in journal.sent
