"""Bulk actions of the dashboard without a script: the question, what was seen, and the job that does it."""

import re
from typing import Any

import pytest

from jalebi.store import search
from tests.support import Live


async def ask(live: Live, status: int = 200, **query: Any) -> str:
    """Return the page that asks."""
    answer = await live.client.get("/jobs/bulk", params=query, headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return answer.text


def fields(page: str) -> dict[str, list[str]]:
    """Return the hidden fields of the form that does it."""
    [form] = re.findall(r'<form class="row" method="post" action="/jobs/bulk">(.*?)</form>', page, re.DOTALL)
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', form):
        found.setdefault(name, []).append(value)
    return found


async def do(live: Live, page: str, **changes: Any) -> dict[str, Any]:
    """Send the form of a page; return the result of the job that it starts."""
    answer = await live.client.post("/jobs/bulk", data={**fields(page), **changes})
    assert answer.status_code == 303, answer.text
    job_id = answer.headers["location"].rpartition("/")[2]
    await live.until(job_id, "completed")
    return dict((await live.client.get(f"/v1/jobs/{job_id}/result")).json())


async def waiting(live: Live, count: int, **more: Any) -> list[str]:
    """Submit jobs that wait."""
    return [(await live.submit("echo", delay=3600, **more))["id"] for _ in range(count)]


async def test_what_matches_is_shown_and_then_acted_on(quick: Live) -> None:
    made = await waiting(quick, 7, tags=["x"])
    other = (await waiting(quick, 1))[0]
    page = await ask(quick, action="cancel", tag="x")
    assert "Cancel 7 jobs?" in page
    assert "jobs tagged x" in page
    assert page.count("<li data-job=") == 5
    assert "and 2 more" in page
    assert {(await quick.job(job_id))["state"] for job_id in made} == {"scheduled"}
    assert await do(quick, page) == {"action": "cancel", "matched": 7, "changed": 7, "skipped": 0}
    assert {(await quick.job(job_id))["state"] for job_id in made} == {"cancelled"}
    assert (await quick.job(other))["state"] == "scheduled"


async def test_a_selection_is_acted_on_whatever_the_filter_shows(quick: Live) -> None:
    first, second, third = await waiting(quick, 3, queue="q")
    page = await ask(quick, action="delete", id=[first, third], queue="q")
    assert "Delete 2 jobs?" in page
    await do(quick, page)
    assert (await quick.client.get(f"/v1/jobs/{first}")).status_code == 404
    assert (await quick.client.get(f"/v1/jobs/{second}")).status_code == 200


async def test_all_that_match_wins_over_the_selection(quick: Live) -> None:
    made = await waiting(quick, 4, queue="q")
    page = await ask(quick, action="cancel", scope="all", id=made[0], queue="q")
    assert "Cancel 4 jobs?" in page
    assert (await do(quick, page))["changed"] == 4


async def test_much_more_than_was_seen_is_asked_about_again(quick: Live) -> None:
    await waiting(quick, 10, tags=["x"])
    page = await ask(quick, action="cancel", tag="x")
    await waiting(quick, 2, tags=["x"])
    answer = await quick.client.post("/jobs/bulk", data=fields(page))
    assert answer.status_code == 409
    assert "More match now than the 10 that you saw" in answer.text
    assert "Cancel 12 jobs?" in answer.text
    assert (await do(quick, answer.text))["changed"] == 12


async def test_a_little_more_than_was_seen_is_fine(quick: Live) -> None:
    await waiting(quick, 10, tags=["x"])
    page = await ask(quick, action="cancel", tag="x")
    await waiting(quick, 1, tags=["x"])
    assert (await do(quick, page))["changed"] == 11


async def test_nothing_chosen_is_not_everything(quick: Live) -> None:
    [job_id] = await waiting(quick, 1)
    assert "Nothing is selected" in await ask(quick, 400, action="delete")
    refused = await quick.client.post("/jobs/bulk", data={"action": "delete"})
    assert refused.status_code == 400
    assert (await quick.client.get(f"/v1/jobs/{job_id}")).status_code == 200
    page = await ask(quick, action="delete", scope="all")
    assert "Delete 1 job?" in page
    await do(quick, page)
    assert (await quick.client.get(f"/v1/jobs/{job_id}")).status_code == 404


async def test_all_failures_of_one_error_are_retried(quick: Live) -> None:
    for _ in range(3):
        await quick.until((await quick.submit("fail", max_attempts=1))["id"], "failed")
    text = (await quick.client.get("/errors", headers={"Accept": "text/html"})).text
    [mark] = re.findall(r"/errors/([0-9a-f]+)", text)
    page = await ask(quick, action="retry", state="failed", error=mark, seen=3)
    assert "Retry 3 jobs?" in page
    assert (await do(quick, page))["changed"] == 3


async def test_what_makes_no_sense_is_refused(quick: Live) -> None:
    await ask(quick, 400, action="explode", scope="all")
    await ask(quick, 400, action="cancel", state="asleep")
    await ask(quick, 400, action="cancel", id=["x"] * 1 + [str(n) for n in range(1001)])


async def test_when_nothing_matches_any_more_there_is_nothing_to_do(quick: Live) -> None:
    page = await ask(quick, action="cancel", tag="nobody")
    assert "there is nothing to do" in page
    assert "<button class=" not in page.partition('action="/jobs/bulk"')[2].partition("</form>")[0]


async def test_time_filters_and_chips_keep_the_rest_of_the_address(quick: Live) -> None:
    await quick.submit("echo", tags=["x"])
    listed = await quick.client.get("/jobs?tag=x&created_after=2001-01-01T00:00&state=completed&state=queued")
    page = listed.text
    assert "tag x" in page
    assert 'value="2001-01-01T00:00"' in page
    [without] = re.findall(r'<a class="chosen" href="([^"]+)">tag x', page)
    assert "tag=" not in without
    assert "created_after=2001-01-01T00%3A00" in without
    assert "state=completed" in without
    nothing = await quick.client.get("/jobs?created_before=2001-01-01T00:00")
    assert "of that time" in nothing.text
    assert 'data-job="' not in nothing.text
    assert "last 24 h" in page


async def test_a_list_in_which_nothing_is_picked_asks_for_nothing_whatever_its_filter(quick: Live) -> None:
    await waiting(quick, 2, tags=["x"])
    assert "Nothing is selected" in await ask(quick, 400, action="delete", scope="picked", tag="x")
    assert "Delete 2 jobs?" in await ask(quick, action="delete", scope=["picked", "all"], tag="x")


async def test_everything_is_called_by_its_name(quick: Live) -> None:
    await waiting(quick, 2)
    assert "These are all the jobs there are." in await ask(quick, action="cancel", scope=["picked", "all"])


async def test_a_count_that_is_not_exact_is_not_held_against_the_next(
    quick: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiting(quick, 3, tags=["x"])
    with monkeypatch.context() as patched:
        patched.setattr(search, "count", lambda *_, **__: (1, False))
        page = await ask(quick, action="cancel", tag="x")
    assert "Cancel at least 1 job?" in page
    assert "seen" not in fields(page)
    assert (await do(quick, page))["changed"] == 3


async def test_a_filter_given_twice_is_kept_by_the_form(quick: Live) -> None:
    page = (await quick.client.get("/jobs?kind=echo&kind=fail&tag=x&tag=y&queue=default")).text
    assert '<input type="hidden" name="kind" value="fail">' in page
    assert '<input type="hidden" name="tag" value="y">' in page
    assert "<option selected>echo</option>" in page
    assert "Filters (5)" in page
