"""Messages on their way: signed, tried again, within each host's room, once more after a restart."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest

from jalebi.errors import UsageError
from jalebi.webhooks import deliveries, hosts
from jalebi.webhooks.addresses import networks
from jalebi.webhooks.connecting import Guarded
from jalebi.webhooks.sending import MOST_READ, send, signed
from tests.support import Live, eventually, server, serving
from tests.targets.quick import quick_shop
from tests.web.raw import problem
from tests.webhooks.receiver import SECRET, Receiver, Sent, receiving, status

OTHER = "whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg=="


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def telling(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Live]:
    """A shop that may tell loopback, and does not wait long before it tells again."""
    monkeypatch.setattr(hosts, "WAITS", (0.02,) * 10)
    monkeypatch.setattr(hosts, "REST", 0.02)
    shop = quick_shop(webhook_secret=(SECRET,), webhook_allow=("127.0.0.0/8",))
    async with serving(shop, shop) as live:
        yield live


async def told(live: Live, about: str, state: str = "delivered", number: int = 1) -> list[dict[str, Any]]:
    """Return the messages about a job once so many of them are in a state."""

    async def there() -> list[dict[str, Any]] | None:
        found = (await live.client.get(f"/v1/jobs/{about}/webhooks")).json()["deliveries"]
        return found if sum(one["state"] == state for one in found) >= number else None

    return await eventually(there)


async def test_the_end_of_a_job_is_told_and_verified_by_the_standards_own_package(
    telling: Live, receiver: Receiver
) -> None:
    job = await telling.submit("echo", args={"value": "ü"}, webhook={"url": receiver.url})
    assert job["webhook"] == {"url": receiver.url, "events": ["completed", "failed", "cancelled"]}
    [delivery] = await told(telling, job["id"])
    [sent] = receiver.sent
    message = sent.verified()
    assert (sent.path, sent.headers["content-type"]) == ("/hook", "application/json")
    assert sent.headers["webhook-id"] == delivery["id"]
    over = await telling.job(job["id"])
    assert message["type"] == "job.completed"
    assert message["timestamp"] == over["finished_at"]
    for name in ("id", "state", "args", "seq", "cursor", "finished_at"):
        assert message["data"][name] == over[name], name
    assert delivery["tries"][0]["status"] == 204
    assert (delivery["event"], delivery["next_at"]) == ("job.completed", None)


async def test_only_the_ends_that_were_asked_for_are_told(telling: Live, receiver: Receiver) -> None:
    quiet = await telling.submit("echo", webhook={"url": receiver.url, "events": ["failed"]})
    await telling.until(quiet["id"], "completed")
    job = await telling.submit("fail", webhook={"url": receiver.url, "events": ["failed"]})
    await told(telling, job["id"])
    assert [sent.message["data"]["id"] for sent in receiver.sent] == [job["id"]]
    assert (await telling.client.get(f"/v1/jobs/{quiet['id']}/webhooks")).json() == {"deliveries": []}


@pytest.mark.parametrize(
    "answer", [status(500), status(429, "Retry-After: 0\r\n"), status(302, "Location: /other\r\n"), b""]
)
async def test_what_is_not_taken_is_sent_again_with_the_same_id(
    telling: Live, receiver: Receiver, answer: bytes
) -> None:
    receiver.answers = [answer, answer]
    job = await telling.submit("echo", webhook={"url": receiver.url})
    [delivery] = await told(telling, job["id"])
    assert len(delivery["tries"]) == 3
    assert {sent.path for sent in receiver.sent} == {"/hook"}
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 1
    assert len({sent.body for sent in receiver.sent}) == 1
    for sent in receiver.sent:
        sent.verified()


async def test_a_receiver_that_is_gone_is_told_no_more(telling: Live, receiver: Receiver) -> None:
    receiver.answers = [status(410, body="moved away")]
    job = await telling.submit("echo", webhook={"url": receiver.url})
    [delivery] = await told(telling, job["id"], "abandoned")
    assert [(one["status"], one["answer"]) for one in delivery["tries"]] == [(410, "moved away")]


async def test_what_was_given_up_can_be_handed_in_again(
    telling: Live, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [status(503)] * 11
    job = await telling.submit("echo", webhook={"url": f"{receiver.url}?token=secret"})
    [delivery] = await told(telling, job["id"], "abandoned")
    assert len(delivery["tries"]) == 11
    assert delivery["url"] == receiver.url
    assert "given up after 11 tries" in caplog.text
    assert "secret" not in caplog.text
    answer = await telling.client.post(f"/v1/jobs/{job['id']}/webhooks/{delivery['id']}/redeliver")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    [again] = await told(telling, job["id"])
    assert len(again["tries"]) == 12
    page = await telling.client.get(f"/jobs/{job['id']}", headers={"Accept": "text/html"})
    assert "Redeliver" in page.text
    assert "token=secret" not in page.text
    form = f"/jobs/{job['id']}/webhooks/{delivery['id']}/redeliver"
    assert (await telling.client.post(form)).status_code == 303

    async def once_more() -> bool | None:
        return len(receiver.sent) == 13 or None

    await eventually(once_more)
    for path in (f"/v1/jobs/{job['id']}/webhooks/none/redeliver", f"/v1/jobs/none/webhooks/{delivery['id']}/redeliver"):
        assert (await telling.client.post(path)).status_code == 404


@pytest.mark.parametrize("code", [200, 410])
async def test_what_is_handed_in_again_while_a_try_is_under_way_is_sent_again(
    telling: Live, receiver: Receiver, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    reached, held = asyncio.Event(), asyncio.Event()

    async def hold(_: Sent) -> bytes:
        reached.set()
        await held.wait()
        return status(code)

    receiver.answers = [hold]
    job = await telling.submit("echo", webhook={"url": receiver.url})
    async with asyncio.timeout(20):
        await reached.wait()
    [delivery] = await told(telling, job["id"], "pending")
    assert (await telling.client.post(f"/v1/jobs/{job['id']}/webhooks/{delivery['id']}/redeliver")).status_code == 202
    held.set()

    async def both() -> list[Any] | None:
        [one] = (await telling.client.get(f"/v1/jobs/{job['id']}/webhooks")).json()["deliveries"]
        return [one] if len(one["tries"]) == 2 else None

    [again] = await eventually(both)
    assert ([one["status"] for one in again["tries"]], again["state"]) == ([code, 204], "delivered")
    assert "given up" not in caplog.text


async def test_a_batch_and_its_jobs_are_told_of(telling: Live, receiver: Receiver) -> None:
    jobs = [{"kind": "echo", "webhook": {"url": receiver.url}}, {"kind": "echo"}]
    answer = await telling.client.post("/v1/jobs/batch", json={"jobs": jobs, "webhook": {"url": receiver.url}})
    batch = answer.json()["batch"]

    async def both() -> bool | None:
        return len(receiver.sent) == 2 or None

    await eventually(both)
    messages = {sent.message["type"]: sent.verified() for sent in receiver.sent}
    assert messages.keys() == {"job.completed", "batch.completed"}
    assert messages["batch.completed"]["data"]["id"] == batch["id"]

    async def written() -> dict[str, Any] | None:
        [one] = (await telling.client.get(f"/v1/batches/{batch['id']}/webhooks")).json()["deliveries"]
        return one if one["state"] == "delivered" else None

    delivery = await eventually(written)
    again = await telling.client.post(f"/v1/batches/{batch['id']}/webhooks/{delivery['id']}/redeliver")
    assert again.status_code == 202


async def test_one_host_gets_so_many_at_once_and_others_do_not_wait_for_it(
    telling: Live, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()

    async def hold(_: Sent) -> bytes:
        await held.wait()
        return status(204)

    receiver.answers = [hold] * 12
    jobs = [await telling.submit("echo", webhook={"url": receiver.url}) for _ in range(12)]

    async def full() -> bool | None:
        return receiver.busy == deliveries.MOST_TO_ONE or None

    await eventually(full)
    async with receiving() as other:
        free = await telling.submit("echo", webhook={"url": other.url.replace("127.0.0.1", "127.0.0.2")})
        monkeypatch.setattr(hosts, "WAITS", (9.0,))
        await told(telling, free["id"], "pending")  # nobody listens at that address: tried, and not in the way
    assert receiver.most == deliveries.MOST_TO_ONE
    held.set()
    for job in jobs:
        await told(telling, job["id"])
    assert receiver.most == deliveries.MOST_TO_ONE


async def test_a_host_that_fails_again_and_again_is_left_alone_and_tried_by_one(
    telling: Live, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "REST", 3600.0)
    receiver.answers.extend([status(500)] * 200)
    jobs = [await telling.submit("echo", webhook={"url": receiver.url}) for _ in range(20)]
    for job in jobs:
        await telling.until(job["id"], "completed")

    async def rests() -> bool | None:
        return len(receiver.sent) >= hosts.FAILURES or None

    await eventually(rests)
    late = await telling.submit("echo", webhook={"url": receiver.url})
    await telling.until(late["id"], "completed")
    found = [(await telling.client.get(f"/v1/jobs/{job['id']}/webhooks")).json()["deliveries"][0] for job in jobs]
    assert sum(len(one["tries"]) for one in found) <= hosts.FAILURES + deliveries.MOST_TO_ONE
    assert {one["state"] for one in found} == {"pending"}


async def client_of(deadline: float, url: str) -> Any:
    async def itself(host: str, _: int) -> list[str]:
        return [host]

    guarded = Guarded(networks(["127.0.0.0/8"]), itself)
    async with httpcore2.AsyncConnectionPool(network_backend=guarded) as client:
        return await send(client, url, signed("msg_1", "{}", [SECRET], 0), "{}", deadline)


async def test_a_try_ends_at_its_deadline_however_slowly_the_answer_drips(receiver: Receiver) -> None:
    async def drip(_: Sent) -> bytes:
        await asyncio.sleep(60)
        return b""

    receiver.answers = [drip]
    tried = await client_of(0.2, receiver.url)
    assert tried.error == "There was no answer within 0.2 seconds."


@pytest.mark.parametrize("code", [200, 410, 503])
@pytest.mark.parametrize("ending", ["breaks off", "drips"])
async def test_the_status_decides_whatever_becomes_of_the_rest_of_the_answer(
    receiver: Receiver, code: int, ending: str
) -> None:
    part = f"HTTP/1.1 {code} X\r\nContent-Length: 10\r\nRetry-After: 7\r\n\r\nok".encode()
    receiver.answers = [part]
    receiver.holding = ending == "drips"
    tried = await client_of(0.2 if receiver.holding else 10, receiver.url)
    assert (tried.status, tried.answer, tried.error, tried.retry_after) == (code, "ok", None, 7.0)
    assert tried.delivered is (code == 200)


async def test_so_much_of_an_answer_is_read_and_less_is_kept(receiver: Receiver) -> None:
    receiver.answers = [status(200, body="é" * (4 * MOST_READ))]
    tried = await client_of(10, receiver.url)
    assert (tried.status, tried.answer) == (200, "é" * 1000)


async def test_an_answer_that_is_no_http_is_a_failure(receiver: Receiver) -> None:
    receiver.answers = [b"nonsense\r\n\r\n"]
    tried = await client_of(10, receiver.url)
    assert tried.status is None
    assert "could not be sent" in tried.error


async def test_an_endpoint_has_a_secret_of_its_own_that_can_be_rotated(telling: Live, receiver: Receiver) -> None:
    made = await telling.client.post("/v1/webhooks", json={"url": receiver.url})
    assert made.status_code == 201
    first = made.json()
    assert "secret" not in (await telling.client.get("/v1/webhooks")).json()["endpoints"][0]

    async def message() -> Sent:
        job = await telling.submit("echo", webhook={"url": f"{receiver.url}/below?x=1"})
        await told(telling, job["id"])
        return receiver.sent[-1]

    (await message()).verified(first["secret"])
    rotated = (await telling.client.post(f"/v1/webhooks/{first['id']}/rotate", json={"overlap": 600})).json()
    both = await message()
    both.verified(first["secret"])
    both.verified(rotated["secret"])
    at_once = (await telling.client.post(f"/v1/webhooks/{first['id']}/rotate", json={"overlap": 0})).json()
    only = await message()
    only.verified(at_once["secret"])
    assert len(only.headers["webhook-signature"].split()) == 1
    assert (await telling.client.delete(f"/v1/webhooks/{first['id']}")).status_code == 204
    (await message()).verified(SECRET)
    for method, path in (("DELETE", first["id"]), ("POST", f"{first['id']}/rotate")):
        assert (await telling.client.request(method, f"/v1/webhooks/{path}")).status_code == 404


async def test_rotations_and_additions_at_the_same_moment_are_made_one_after_the_other(quick: Live) -> None:
    body = {"url": "https://93.184.215.14/hook"}
    added = await asyncio.gather(*(quick.client.post("/v1/webhooks", json=body) for _ in range(3)))
    assert sorted(answer.status_code for answer in added) == [201, 422, 422]
    [made] = [answer.json() for answer in added if answer.status_code == 201]
    refused = next(answer for answer in added if answer.status_code == 422)
    assert problem(refused, 422, "validation-failed")["errors"][0]["pointer"] == "/url"
    desk = (await quick.shop.open()).webhooks
    rotated = await asyncio.gather(*(desk.rotate(made["id"], 600) for _ in range(3)))
    # Each finds the one before it, so that the secret that it was told signs for its time too.
    assert [one.previous for one in rotated] == [made["secret"], rotated[0].secret, rotated[1].secret]
    assert await desk.endpoints() == [rotated[-1]]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "ftp://example.com/"}, "/url"),
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "https://example.com/", "secret": "short"}, "/secret"),
        ({"url": "https://example.com/", "more": 1}, "/more"),
    ],
)
async def test_an_endpoint_that_can_not_be_is_refused(telling: Live, body: dict[str, Any], pointer: str) -> None:
    answer = await telling.client.post("/v1/webhooks", json=body)
    assert problem(answer, 422, "validation-failed")["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("ftp://example.com/", "https://"),
        ("http://10.0.0.1/", "may not reach"),
        ("http://[::1]/", "may not reach"),
        ("http://2130706433/", "decimal"),
        ("http://user:pw@example.com/", "password"),
    ],
)
async def test_a_webhook_that_can_not_be_honoured_is_refused(telling: Live, url: str, word: str) -> None:
    answer = await telling.client.post("/v1/jobs", json={"kind": "echo", "webhook": {"url": url}})
    [error] = problem(answer, 422, "validation-failed")["errors"]
    assert error["pointer"] == "/webhook/url"
    assert word in error["detail"]
    body = {"jobs": [{"kind": "echo"}, {"kind": "echo", "webhook": {"url": url}}], "webhook": {"url": url}}
    body["finally"] = {"kind": "echo", "webhook": {"url": url}}
    answer = await telling.client.post("/v1/jobs/batch", json=body)
    found = {error["pointer"] for error in problem(answer, 422, "validation-failed")["errors"]}
    assert found == {"/webhook/url", "/jobs/1/webhook/url", "/finally/webhook/url"}
    assert (await telling.client.get("/v1/jobs")).json()["jobs"] == []


async def test_names_are_looked_up_before_a_webhook_is_taken(telling: Live) -> None:
    desk = (await telling.shop.open()).webhooks

    async def nobody_knows(host: str, _: int) -> list[str]:
        if host == "private.example.com":
            return ["10.0.0.1"]
        raise OSError("the resolver is away")

    desk._resolve = nobody_knows
    for host, code in (("private.example.com", 422), ("away.example.com", 202)):
        body = {"kind": "echo", "webhook": {"url": f"https://{host}/"}}
        assert (await telling.client.post("/v1/jobs", json=body)).status_code == code, host


async def test_without_a_secret_no_webhook_is_taken(quick: Live) -> None:
    answer = await quick.client.post("/v1/jobs", json={"kind": "echo", "webhook": {"url": "https://93.184.215.14/"}})
    [error] = problem(answer, 422, "validation-failed")["errors"]
    assert error["pointer"] == "/webhook"
    assert "JALEBI_WEBHOOK_SECRET" in error["detail"]
    made = await quick.client.post("/v1/webhooks", json={"url": "https://93.184.215.14/"})
    assert made.status_code == 201


def test_what_is_no_secret_no_network_and_no_address_is_said_at_the_start() -> None:
    for name, wrong in (
        ("webhook_secret", "whsec_c2hvcnQ="),
        ("webhook_secret", "x"),
        ("webhook_allow", "10.0.0.1/8"),
        ("public_url", "jobs.example.com"),
    ):
        with pytest.raises(UsageError, match=name):
            quick_shop(**{name: wrong})


async def test_what_was_not_delivered_before_a_kill_is_delivered_after_it(tmp_path: Path, receiver: Receiver) -> None:
    shop = "from tests.targets.quick import quick_shop\nshop = quick_shop(database_url='sqlite:///jobs.db')\n"
    (tmp_path / "shop.py").write_text(shop)
    root = str(Path(__file__).parents[2])
    env = {"PYTHONPATH": root, "JALEBI_WEBHOOK_SECRET": SECRET, "JALEBI_WEBHOOK_ALLOW": "127.0.0.0/8"}
    reached = asyncio.Event()

    async def never(_: Sent) -> bytes:
        reached.set()
        await asyncio.sleep(60)
        return b""

    receiver.answers = [never]
    with server("serve", "shop.py", "--port", "0", cwd=tmp_path, env=env) as process:
        async with httpx2.AsyncClient(base_url=process.ready()) as client:
            job = (await client.post("/v1/jobs", json={"kind": "echo", "webhook": {"url": receiver.url}})).json()
            async with asyncio.timeout(20):
                await reached.wait()
            process.stop(signal.SIGKILL)
    with server("serve", "shop.py", "--port", "0", cwd=tmp_path, env=env) as process:
        async with httpx2.AsyncClient(base_url=process.ready()) as client:

            async def delivered() -> bool | None:
                found = (await client.get(f"/v1/jobs/{job['id']}/webhooks")).json()["deliveries"]
                return [one["state"] for one in found] == ["delivered"] or None

            await eventually(delivered)
    assert len({sent.headers["webhook-id"] for sent in receiver.sent}) == 1
    assert len(receiver.sent) == 2
    receiver.sent[1].verified()
