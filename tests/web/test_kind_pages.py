"""The pages of kinds over HTTP, as a browser without scripts uses them: rows, refusals, jobs submitted once more."""

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from jalebi import Jalebi
from jalebi.context import Upload
from jalebi.web import forms
from tests.support import Live, serving
from tests.web.formed import Browser


class Item(BaseModel):
    name: str
    amount: int = 1


class Scan(BaseModel):
    page: Upload
    title: str = ""


def shop() -> Jalebi:
    made = Jalebi(database_url="sqlite://")

    @made.job(queue="orders")
    async def buy(title: str, items: list[Item] = [], note: str | None = None) -> dict[str, Any]:  # noqa: B006
        """Buy things."""
        return {"title": title, "items": [item.model_dump() for item in items], "note": note}

    @made.job
    async def read(note: Upload, title: str) -> str:
        """Read a note."""
        return note.path.read_text()

    @made.job
    async def scan(scans: list[Scan] = []) -> int:  # noqa: B006
        """Scan pages."""
        return len(scans)

    return made


@pytest.fixture
async def served() -> AsyncIterator[Live]:
    found = shop()
    async with serving(found, found, "") as live:
        live.client.headers.update({"Accept": "text/html"})
        yield live


def typed(answer: httpx2.Response) -> dict[str, list[str]]:
    """Return what a browser would send of the form on a page."""
    return Browser(answer.text.partition("<form ")[2].partition("</form>")[0]).typed


async def press(live: Live, path: str, sent: dict[str, list[str]], do: str) -> httpx2.Response:
    answer = await live.client.post(path, data={**sent, forms.DO: [do]})
    assert answer.status_code == 200, answer.text
    return answer


async def test_rows_are_added_and_removed_and_nothing_is_submitted_by_it(served: Live) -> None:
    sent = typed(await served.client.get("/kinds/buy")) | {"title": ["things"]}
    key = sent["option:key"]
    for number in range(2):
        sent = typed(await press(served, "/kinds/buy", sent, "add items"))
        sent[f"items/{number}/name"] = [f"thing {number}"]
    sent = typed(await press(served, "/kinds/buy", sent, "drop items/0"))
    assert (sent["title"], sent["option:key"], sent["items/1/name"]) == (["things"], key, ["thing 1"])
    assert (await served.client.get("/v1/jobs")).json()["jobs"] == []
    answer = await served.client.post("/kinds/buy", data=sent)
    assert answer.status_code == 303
    twice = await served.client.post("/kinds/buy", data=sent)
    assert twice.headers["location"] == answer.headers["location"]
    job = (await served.client.get(f"/v1{answer.headers['location']}")).json()
    assert job["args"] == {"title": "things", "items": [{"name": "thing 1", "amount": 1}], "note": None}


async def test_a_refused_form_links_to_each_wrong_field(served: Live) -> None:
    sent = typed(await served.client.get("/kinds/buy"))
    sent = typed(await press(served, "/kinds/buy", sent, "add items")) | {"items/0/amount": ["many"]}
    answer = await served.client.post("/kinds/buy", data=sent | {"option:timeout": ["-1"]})
    assert answer.status_code == 422
    links = re.findall(r'<li><a href="#([^"]+)">([^<]+)</a>', answer.text)
    assert [name for _, name in links] == ["title", "items / 1 / name", "items / 1 / amount", "timeout"]
    assert {place for place, _ in links} <= set(re.findall(r' id="([^"]+)"', answer.text))
    again = typed(answer)
    assert (again["items/0/amount"], again["option:timeout"]) == (["many"], ["-1"])


async def test_a_job_is_submitted_again_with_changes(served: Live) -> None:
    items = [{"name": "a"}, {"name": "b", "amount": 2}]
    job = await served.submit(
        "buy", args={"title": "T", "items": items, "note": ""}, tags=["x", "y"], priority=3, timeout=60, max_attempts=1
    )
    answer = await served.client.get(f"/kinds/buy?from={job['id']}")
    assert "The form has the args of that job" in answer.text
    sent = typed(answer) | {"title": ["U"]}
    assert sent["option:tags"] == ["x, y"]
    made = await served.client.post("/kinds/buy", data=sent)
    again = (await served.client.get(f"/v1{made.headers['location']}")).json()
    assert again["args"] == {**job["args"], "title": "U"}
    assert (again["tags"], again["priority"], again["timeout"], again["max_attempts"]) == (["x", "y"], 3, 60, 1)
    assert again["id"] != job["id"]


@pytest.mark.parametrize("job", ["none", "0" * 36, "<script>"])
async def test_a_job_that_is_gone_leaves_the_defaults(served: Live, job: str) -> None:
    answer = await served.client.get("/kinds/buy", params={"from": job})
    assert (answer.status_code, "no such job" in answer.text) == (200, True)
    other = await served.submit("scan")
    assert "That job is a scan" in (await served.client.get(f"/kinds/buy?from={other['id']}")).text


async def test_a_file_is_kept_while_the_form_is_refused_and_for_the_next_job(served: Live) -> None:
    key = {"option:key": typed(await served.client.get("/kinds/read"))["option:key"]}
    refused = await served.client.post("/kinds/read", data=key, files={"note": ("n.txt", b"one")})
    assert (refused.status_code, "The file you chose is kept." in refused.text) == (422, True)
    made = await served.client.post("/kinds/read", data=typed(refused) | {"title": ["x"]}, files={"other": b""})
    job = await served.until(made.headers["location"].rpartition("/")[2])
    assert (await served.client.get(job["links"]["result"])).json() == "one"
    again = await served.client.get(f"/kinds/read?from={job['id']}")
    assert typed(again)["note"] == [job["args"]["note"]]
    changed = await served.client.post("/kinds/read", data=typed(again), files={"note": ("n.txt", b"two")})
    job = await served.until(changed.headers["location"].rpartition("/")[2])
    assert (await served.client.get(job["links"]["result"])).json() == "two"


async def test_a_file_in_a_row_is_kept_too(served: Live) -> None:
    sent = typed(await served.client.get("/kinds/scan"))
    answer = await press(served, "/kinds/scan", sent, "add scans")
    assert 'enctype="multipart/form-data"' in answer.text
    again = {**typed(answer), forms.DO: ["add scans"]}
    kept = await served.client.post("/kinds/scan", data=again, files={"scans/0/page": ("n.txt", b"one")})
    assert typed(kept)["scans/0/page"] == re.findall(r'name="scans/0/page" value="([^"]{36})"', kept.text)


@pytest.mark.parametrize("count", [4100, 100_000])
async def test_a_form_with_too_many_fields_is_refused_with_a_word(served: Live, count: int) -> None:
    body = "&".join(f"a{number}=1" for number in range(count))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await served.client.post("/kinds/buy", content=body.encode(), headers=kind)
    assert answer.status_code in {400, 413}
    assert "Too many fields" in answer.text


async def test_args_nested_too_deep_or_too_long_are_refused_where_they_are_typed(served: Live) -> None:
    for text in ("[" * 100_000, '{"title": ' + "[" * 5000 + "]" * 5000 + "}"):
        answer = await served.client.post("/kinds/buy", data={"option:mode": "json", "option:json": text})
        assert answer.status_code == 422
        assert "nested deeper than" in unescape(answer.text)


async def test_kinds_tell_how_many_of_their_jobs_are_where(served: Live) -> None:
    for _ in range(2):
        await served.until((await served.submit("scan"))["id"])
    await served.submit("buy", args={"title": "x"}, delay=1000)
    text = (await served.client.get("/kinds")).text
    assert "2 completed" in text
    assert "1 waiting" in text
    assert "takes about" in text
