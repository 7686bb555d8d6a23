"""The shop that `jalebi demo` serves: what it offers, and the services around it."""

import asyncio
import html
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from demo_mailbox import KEPT_MAILS, Mailbox
from demo_pages import answer
from demo_services import Services, running, services
from shop import shop, token

from jalebi import JobContext
from jalebi.errors import JobStopped, ValidationFailed
from tests.examples.fake_link import FakeLink

HEAVY = {"fpdf", "PIL", "aiosmtplib", "aiosmtpd", "httpx2"}


def test_importing_the_shop_loads_none_of_the_heavy_libraries() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import shop; print(*sys.modules)"
    examples = Path(__file__).parents[2] / "examples"
    done = subprocess.run(
        [sys.executable, "-c", script, str(examples)], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "demo_report" in loaded
    assert not loaded & HEAVY


def test_every_kind_explains_itself_and_each_of_its_fields() -> None:
    kinds = shop.kinds.all()
    assert [kind.name for kind in kinds] == ["images", "mailing", "report", "survey", "token"]
    for kind in kinds:
        assert kind.description.splitlines()[0].endswith(".")
        assert all(field["description"] for field in kind.args_schema["properties"].values())
        assert kind.timeout != 900, "the default is nobody's choice"


@pytest.mark.parametrize("kind", ["images", "mailing", "survey", "token"])
def test_every_kind_but_the_report_runs_without_any_args(kind: str) -> None:
    assert shop.kinds.named(kind).validate({})


def test_a_report_needs_nothing_but_a_title() -> None:
    assert '"pages":200' in shop.kinds.named("report").validate({"title": "Q3"})


@pytest.mark.parametrize("args", [{}, {"title": ""}, {"title": "x", "pages": 0}, {"title": "x", "pages": 2001}])
def test_args_out_of_bounds_are_refused(args: dict[str, object]) -> None:
    with pytest.raises(ValidationFailed):
        shop.kinds.named("report").validate(args)


async def test_the_services_listen_on_loopback_and_are_gone_afterwards() -> None:
    async with services(shop):
        ports = [int(running.smtp.partition(":")[2]), urlsplit(running.web).port]
        assert running.smtp.startswith("127.0.0.1:")
        assert urlsplit(running.web).hostname == "127.0.0.1"
        # A client that stays must not keep the server from ending.
        _, idle = await asyncio.open_connection("127.0.0.1", ports[0])
        _, slow = await asyncio.open_connection("127.0.0.1", ports[1])
    assert (running.smtp, running.web) == ("", "")
    for port in ports:
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
    for writer in (idle, slow):
        writer.close()


@pytest.mark.parametrize(
    "request_head",
    [b"POST / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"GET http://[ HTTP/1.1\r\n\r\n", b"GET /" + b"x" * 20_000, b"GET / HT"],
)
async def test_no_request_upsets_the_pages(demo: Services, request_head: bytes) -> None:
    address = urlsplit(demo.web)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request_head)
    writer.write_eof()
    answered = b""
    with suppress(ConnectionError):  # a request that is not read to its end may be answered by a reset
        answered = await reader.read()
    writer.close()
    assert answered == b"" or answered.startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("delay", ["-1", "nan", "x", ""])
def test_a_delay_that_is_none_is_no_delay(delay: str) -> None:
    assert answer(f"/sweets/peda?delay={delay}", Mailbox()).delay == 0


def test_a_page_never_takes_longer_than_half_a_minute() -> None:
    assert answer("/sweets/peda?delay=1e9", Mailbox()).delay == 30


def test_the_mailbox_shows_the_last_mails_and_nothing_of_them_as_markup() -> None:
    mailbox = Mailbox()
    for number in range(KEPT_MAILS + 1):
        mailbox.take([f"{number}@example.com"], b"Subject: <script>\r\n\r\n<b>fresh</b>")
    page = answer("/mailbox", mailbox)
    assert page.title == f"{KEPT_MAILS + 1} mails came in"
    assert html.escape("<b>fresh</b>") in page.body
    assert "<script>" not in page.body
    assert "to 0@example.com" not in page.body


async def test_a_token_is_made_step_by_step(ctx: JobContext, link: FakeLink) -> None:
    assert await token(ctx, seconds=0.1) == {"sweet": "jalebi", "attempt": 1}
    assert link.positions[-1] == (100, 100, "ready", "spirals")


async def test_a_token_that_fails_once_is_made_at_the_second_attempt(ctx: JobContext) -> None:
    with pytest.raises(RuntimeError, match="fell on the floor"):
        await token(ctx, seconds=0.1, fail="once")
    ctx.attempt = 2
    assert (await token(ctx, seconds=0.1, fail="once"))["attempt"] == 2


async def test_a_cancelled_token_stops(ctx: JobContext, link: FakeLink) -> None:
    link.stop_at = 5
    with pytest.raises(JobStopped):
        await token(ctx, seconds=0.1)
