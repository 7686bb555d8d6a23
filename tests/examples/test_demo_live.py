"""The demo's shop on a real server: every kind from its submission to its files."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from shop import shop

from tests.support import Live, serving

DATA = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture
async def demo_shop() -> AsyncIterator[Live]:
    shop.configure(database_url="sqlite://")
    shop.target = str(DATA.parent / "shop.py")
    async with serving(shop, shop) as live:
        yield live


@pytest.mark.parametrize(
    ("kind", "args", "files"),
    [
        ("report", {"title": "Q3", "pages": 5}, ["report.pdf"]),
        ("images", {}, ["contact-sheet.png", "images.zip"]),
        ("mailing", {"per_second": 1000}, ["mailing.csv"]),
        ("survey", {"page_timeout": 0.5, "concurrency": 40, "per_second": 100}, ["survey.csv"]),
        ("token", {"seconds": 0.1}, []),
    ],
)
async def test_every_kind_completes_and_leaves_its_files(
    demo_shop: Live, kind: str, args: dict[str, Any], files: list[str]
) -> None:
    job = await demo_shop.submit(kind, args=args)
    done = await demo_shop.until(job["id"], "completed", "failed")
    assert (done["state"], done["error"], done["progress"]["fraction"]) == ("completed", None, 1.0)
    listed = (await demo_shop.client.get(f"/v1/jobs/{job['id']}/files")).json()["files"]
    assert sorted(file["name"] for file in listed) == files
    assert all([(await demo_shop.client.get(file["href"])).status_code == 200 for file in listed])


async def test_a_file_that_the_caller_hands_in_is_what_the_job_works_on(demo_shop: Live) -> None:
    handed_in = await demo_shop.client.post("/v1/uploads", content=(DATA / "recipients.csv").read_bytes())
    job = await demo_shop.submit("report", args={"title": "People", "pages": 2, "upload": handed_in.json()["id"]})
    await demo_shop.until(job["id"], "completed")
    assert (await demo_shop.client.get(f"/v1/jobs/{job['id']}/result")).json()["rows"] == 200


@pytest.mark.parametrize(
    ("kind", "args"),
    [("report", {"title": "Long", "pages": 2000}), ("mailing", {"per_second": 0.1}), ("survey", {"concurrency": 1})],
)
async def test_a_running_job_is_cancelled_in_no_time(demo_shop: Live, kind: str, args: dict[str, Any]) -> None:
    job = await demo_shop.submit(kind, args=args)
    await demo_shop.until(job["id"], "running")
    await demo_shop.client.post(f"/v1/jobs/{job['id']}/cancel", json={})
    assert (await demo_shop.until(job["id"], "cancelled"))["error"] is None


async def test_what_can_not_be_is_said_in_one_sentence_and_not_tried_again(demo_shop: Live) -> None:
    job = await demo_shop.submit("images", args={"folder": "/no/such/folder"})
    failed = await demo_shop.until(job["id"], "failed")
    assert failed["attempt"] == 1
    assert failed["error"]["message"] == "There is no folder '/no/such/folder' on the server."
