"""Every page of a shop in which something of everything has happened, for tests that look at all of them."""

import httpx2

from tests.browser.conftest import Kitchen
from tests.crawl import crawl

#: Pages that no link leads to, or only from what these tests do not make.
SEEDS = ("/jobs?state=failed&q=nothing", "/kinds/order", "/jobs?state=running", "/help")
#: A long word and a long sentence, which nothing may be pushed aside by.
LONG = "a fairly long title " * 9 + "without-any-place-to-break-the-line-" * 4


async def seeded(kitchen: Kitchen) -> list[str]:
    """Submit a job for each kind of state; return the paths of their pages."""
    done, failed = kitchen.submit("stir", args={"turns": 3}), kitchen.submit("spill")
    await kitchen.job(done)
    await kitchen.job(failed)
    runs = kitchen.submit("stir", args={"title": LONG, "turns": 4000}, tags=["tenant:7"])
    later = kitchen.submit("nap", delay=900)
    off = kitchen.submit("nap", delay=900)
    with kitchen.api() as client:
        client.post(f"/v1/jobs/{off}/cancel")
    return [f"/jobs/{job}" for job in (done, failed, runs, later, off)] + [f"/jobs/{done}/delete"]


async def every_page(kitchen: Kitchen) -> list[str]:
    """Return the path of every page, that of a job in each kind of state among them; one of each shape."""
    seeds = [*SEEDS, *await seeded(kitchen)]
    async with httpx2.AsyncClient(base_url=kitchen.url, timeout=20) as client:
        found = await crawl(client, "", ["/", *seeds])
    shown = [page.path for page in found if page.is_html and page.answer.status_code < 400]
    # The list of jobs is the same page with every filter; those of the seeds are enough.
    return [path for path in shown if path in SEEDS or not path.startswith("/jobs?")]
