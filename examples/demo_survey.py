"""The kind `survey`: asks a list of web pages how they are, a few at a time."""

import asyncio
import csv
import html
import io
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from demo_input import existing_file, read_text
from demo_pace import Pace
from demo_services import running
from pydantic import Field

from jalebi import JobContext, JobFailed

if TYPE_CHECKING:
    from httpx2 import AsyncClient

MAX_URLS: Final = 5000
MAX_PAGE_BYTES: Final = 2 * 1024 * 1024
#: The title of a page is near its beginning.
TITLE_BYTES: Final = 64 * 1024
MAX_REDIRECTS: Final = 5
SHOWN_ROWS: Final = 200
_TITLE: Final = re.compile(rb"<title[^>]*>(.{0,2000}?)</title", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Visit:
    """How one page was: its status, or the error that came instead."""

    url: str
    status: int | None
    milliseconds: int
    bytes: int
    title: str
    error: str


async def survey(
    ctx: JobContext,
    urls: Annotated[
        list[str],
        Field(description="Web addresses (http or https). None: the demo's own slow pages.", max_length=MAX_URLS),
    ] = [],  # noqa: B006  # never changed; a JSON Schema wants a list here
    file: Annotated[str, Field(description="Or the path of a text file on the server, an address a line.")] = "",
    concurrency: Annotated[int, Field(description="So many pages at once.", ge=1, le=50)] = 5,
    per_second: Annotated[float, Field(description="At most so many requests begun a second.", ge=0.1, le=100)] = 10,
    page_timeout: Annotated[float, Field(description="Seconds for one page, from start to end.", ge=0.1, le=60)] = 5,
) -> dict[str, Any]:
    """Visit a list of web pages.

    Says for each page its status, how long it took, its size and its title, and keeps all of it as `survey.csv`.
    A page that fails or takes too long is a finding, not a failure of the job.
    Of a large page the first 2 MiB are read.
    """
    asked = addresses([*urls, *(await asyncio.to_thread(_listed, file) if file else [])] or running.pages())
    visits = await visit_all(ctx, asked, concurrency, per_second, page_timeout)
    ctx.attach(_as_csv(visits), "survey.csv", "text/csv")
    good = [visit for visit in visits if visit.status is not None and visit.status < 400]
    return {
        "urls": len(visits),
        "ok": len(good),
        "failed": len(visits) - len(good),
        "bytes": sum(visit.bytes for visit in visits),
        "slowest_ms": max(visit.milliseconds for visit in visits),
        "pages": [asdict(visit) for visit in visits[:SHOWN_ROWS]],
    }


def addresses(named: list[str]) -> list[str]:
    """Return the addresses, each once and in order. Raises JobFailed where one is not of the web."""
    from httpx2 import URL, InvalidURL

    if not named:
        raise JobFailed("There is no page to visit: name some `urls`, or use `jalebi demo`, which has its own.")
    if len(named) > MAX_URLS:
        raise JobFailed(f"There are {len(named)} addresses, over the limit of {MAX_URLS}.", retry=False)
    for address in named:
        try:
            url = URL(address)
        except InvalidURL as error:
            raise JobFailed(f"{address[:200]!r} is not a web address: {error}.", retry=False) from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise JobFailed(f"{address[:200]!r} is not a web address that starts with http or https.", retry=False)
    return list(dict.fromkeys(named))


def _listed(file: str) -> list[str]:
    lines = (line.strip() for line in read_text(existing_file(file, "")).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


async def visit_all(
    ctx: JobContext, urls: list[str], concurrency: int, per_second: float, page_timeout: float
) -> list[Visit]:
    """Visit each page, at most `concurrency` at once; the results are in the order of the addresses."""
    # Here and not above: every process that runs any kind imports this module.
    from httpx2 import AsyncClient, Limits

    found: dict[str, Visit] = {}
    waiting, pace = iter(urls), Pace(ctx, per_second)
    ctx.progress(0, len(urls), None, "pages")
    limits = Limits(max_connections=concurrency)
    # Proxies and passwords of the server's own environment are not the caller's to use.
    client = AsyncClient(
        follow_redirects=True, max_redirects=MAX_REDIRECTS, limits=limits, timeout=page_timeout, trust_env=False
    )
    async with client, asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(urls))):
            group.create_task(_visit_in_turn(ctx, client, waiting, len(urls), pace, page_timeout, found))
    # Here and not in the tasks: a group would wrap it into something that no longer says "stopped".
    ctx.raise_if_cancelled()
    return [found[url] for url in urls]


async def _visit_in_turn(
    ctx: JobContext,
    client: "AsyncClient",
    waiting: Iterator[str],
    total: int,
    pace: Pace,
    page_timeout: float,
    found: dict[str, Visit],
) -> None:
    for url in waiting:
        if not await pace.wait():
            return
        visit = await visit_one(client, url, page_timeout)
        found[url] = visit
        ctx.progress(len(found), total, visit.title or visit.error or url, "pages")


async def visit_one(client: "AsyncClient", url: str, page_timeout: float) -> Visit:
    """Visit a page; whatever goes wrong is part of the answer."""
    from httpx2 import HTTPError, InvalidURL

    status, size, start, error = None, 0, b"", ""
    began = time.perf_counter()
    try:
        # The client's own limit is for each read; a page that trickles would never end.
        async with asyncio.timeout(page_timeout), client.stream("GET", url) as response:
            status = response.status_code
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                start = (start + chunk)[:TITLE_BYTES] if len(start) < TITLE_BYTES else start
                if size >= MAX_PAGE_BYTES:
                    break
    except TimeoutError:
        error = f"no answer within {page_timeout:g} s"
    except (HTTPError, InvalidURL, OSError, ValueError) as problem:
        error = str(problem) or type(problem).__name__
    milliseconds = round((time.perf_counter() - began) * 1000)
    return Visit(url, status, milliseconds, size, _title(start), error[:300])


def _title(start: bytes) -> str:
    match = _TITLE.search(start)
    return " ".join(html.unescape(match[1].decode("utf-8", "replace")).split())[:120] if match else ""


def _as_csv(visits: list[Visit]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["url", "status", "milliseconds", "bytes", "title", "error"])
    writer.writerows(asdict(visit).values() for visit in visits)
    return text.getvalue().encode()
