"""Bodies that are wrong are refused with 400 or 422, never with 500; nothing of them is stored."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jalebi.errors import MalformedRequest
from jalebi.web.json import MAX_DEPTH, MAX_NODES, parse
from tests.support import Live, serving
from tests.targets.quick import quick_shop
from tests.web.raw import exchange, post

NOT_JSON = [
    b"", b" ", b"{", b"}", b"[", b"]", b"[1,]", b'{"a":1,}', b'{"a" 1}', b"{a:1}", b"{'a':1}", b'{"a":1}x', b"1 2",
    b"nul", b"True", b"undefined", b"+1", b"01", b"1.", b".5", b"0x10", b"1e", b"--1", b"1_000", b'"', b'"\x01"',
    b'"\t"', b'"\n"', b'"\\x41"', b'"\\u12"', b'"\\u12g4"', b"// no\n1", b"/* no */1", b"[1 2]", b"{1:2}", b"{null:1}",
    b"\x00", b"1\x00", b"\xff", b"\xc3\x28", b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf5\x80\x80\x80"', b"\xfe\xff\x00{",
    b"\xef\xbb\xbf{}", '{"kind":"echo"}'.encode("utf-16"), '{"kind":"echo"}'.encode("utf-32"),
]  # fmt: skip
NOT_SAFE = [
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" + b"0" * 400 + b".0", b"[NaN]", b'{"a":-Infinity}',
    b"9223372036854775808", b"-9223372036854775808", b"1" + b"0" * 5000, b"-1" + b"0" * 5000,
    b'"\\u0000"', b'"a\\u0000b"', b'{"\\u0000":1}', b'"\\ud800"', b'"\\udfff"', b'"\\ude00\\ud83d"', b'{"\\udc00":1}',
    '"ü\\u0000"'.encode(), '"ü\\ud800"'.encode(), b'{"a":1,"a":1}', b'[{"x":{"b":1,"c":2,"b":3}}]',
    b'{"a":1,"\\u0061":2}', b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), b'{"a":' * 40 + b"1" + b"}" * 40,
    b"[" * 500_000, b"[" * 100_000 + b"]" * 100_000, b"[" + b"0," * MAX_NODES + b"0]", b'{"a":[[' + b"1," * 10_000,
]  # fmt: skip
GOOD = [
    b"0", b"-0", b"1.5e3", b"1E5", b'"\\u00e9"', b'"\\ud83d\\ude00"', '"😀"'.encode(), b"[]", b" {} \r\n\t", b"null",
    b"9223372036854775807", b"-9223372036854775807", b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH,
    b"[" + b"0," * (MAX_NODES - 2) + b"0]", b'{"a":1,"A":2}', b'"\x7f"', b'"\\\\u0000"',
]  # fmt: skip
#: What is JSON and no submission: the pointers of its faults.
WRONG: list[tuple[Any, list[str]]] = [
    (None, [""]), ([], [""]), ("echo", [""]), (1, [""]), (True, [""]), ({}, ["/kind"]), ({"kind": None}, ["/kind"]),
    ({"kind": 5}, ["/kind"]), ({"kind": ""}, ["/kind"]), ({"kind": ["echo"]}, ["/kind"]), ({"kind": "no"}, ["/kind"]),
    ({"kind": "x" * 300}, ["/kind"]), ({"Kind": "echo"}, ["/kind", "/Kind"]),
    ({"kind": "echo", "x/y~z": 1}, ["/x~1y~0z"]), ({"kind": "echo", "batch": []}, ["/batch"]),
    ({"kind": "echo", "args": None}, ["/args"]), ({"kind": "echo", "args": []}, ["/args"]),
    ({"kind": "echo", "args": "{}"}, ["/args"]), ({"kind": "echo", "args": {"valu": 1}}, ["/args/valu"]),
    ({"kind": "typed"}, ["/args/title"]), ({"kind": "typed", "args": {"title": 1}}, ["/args/title"]),
    ({"kind": "typed", "args": {"title": "x", "pages": "20"}}, ["/args/pages"]),
    ({"kind": "typed", "args": {"title": "x", "pages": 501}}, ["/args/pages"]),
    ({"kind": "typed", "args": {"title": "x", "pages": 2.5}}, ["/args/pages"]),
    ({"kind": "typed", "args": {"title": "x", "draft": 1}}, ["/args/draft"]),
    ({"kind": "typed", "args": {"title": "x", "colour": "blue"}}, ["/args/colour"]),
    ({"kind": "typed", "args": {"title": "x", "tags": ["a", 2]}}, ["/args/tags/1"]),
    ({"kind": "typed", "args": {"title": "x", "address": {}}}, ["/args/address/street"]),
    ({"kind": "typed", "args": {"title": "", "size": "huge"}}, ["/args/title", "/args/size"]),
    ({"kind": "odd:name.of-a_kind", "args": {"value": "x"}}, ["/args/value", "/args/value"]),
    ({"kind": "odd:name.of-a_kind", "args": {"value": [1, "x"]}}, ["/args/value", "/args/value/1"]),
    ({"kind": "echo", "queue": ""}, ["/queue"]), ({"kind": "echo", "queue": "a\nb"}, ["/queue"]),
    ({"kind": "echo", "queue": "q" * 101}, ["/queue"]), ({"kind": "echo", "queue": 1}, ["/queue"]),
    ({"kind": "echo", "priority": "1"}, ["/priority"]), ({"kind": "echo", "priority": 1.5}, ["/priority"]),
    ({"kind": "echo", "priority": True}, ["/priority"]), ({"kind": "echo", "priority": 10**7}, ["/priority"]),
    ({"kind": "echo", "tags": "a"}, ["/tags"]), ({"kind": "echo", "tags": [1]}, ["/tags/0"]),
    ({"kind": "echo", "tags": ["ok", ""]}, ["/tags/1"]), ({"kind": "echo", "tags": ["t"] * 21}, ["/tags"]),
    ({"kind": "echo", "tags": ["t" * 201]}, ["/tags/0"]), ({"kind": "echo", "tags": ["a\x85b"]}, ["/tags/0"]),
    ({"kind": "echo", "delay": -1}, ["/delay"]), ({"kind": "echo", "delay": "1"}, ["/delay"]),
    ({"kind": "echo", "delay": 10**12}, ["/delay"]), ({"kind": "echo", "delay": False}, ["/delay"]),
    ({"kind": "echo", "run_at": 1700000000}, ["/run_at"]), ({"kind": "echo", "run_at": "1700000000"}, ["/run_at"]),
    ({"kind": "echo", "run_at": "2026-01-31"}, ["/run_at"]), ({"kind": "echo", "run_at": "soon"}, ["/run_at"]),
    ({"kind": "echo", "run_at": "2026-01-31T09:30:00"}, ["/run_at"]), ({"kind": "echo", "run_at": True}, ["/run_at"]),
    ({"kind": "echo", "run_at": "2026-02-30T09:30:00Z"}, ["/run_at"]),
    ({"kind": "echo", "run_at": "9999-12-31T23:59:59-23:59"}, ["/run_at"]),
    ({"kind": "echo", "run_at": "2026-01-31T09:30:00Z", "delay": 1}, [""]),
    ({"kind": "echo", "timeout": 0}, ["/timeout"]), ({"kind": "echo", "timeout": -1}, ["/timeout"]),
    ({"kind": "echo", "timeout": 10**9}, ["/timeout"]), ({"kind": "echo", "max_attempts": 0}, ["/max_attempts"]),
    ({"kind": "echo", "max_attempts": 1.0}, ["/max_attempts"]), ({"kind": "echo", "id": "mine"}, ["/id"]),
    ({"kind": "echo", "state": "completed", "attempt": 7}, ["/state", "/attempt"]),
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_JSON + NOT_SAFE, ids=range(len(NOT_JSON + NOT_SAFE)))
def test_what_is_not_plain_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse(body)


@pytest.mark.parametrize("body", GOOD, ids=range(len(GOOD)))
def test_what_is_plain_json_is_read_as_json_reads_it(body: bytes) -> None:
    assert parse(body) == json.loads(body)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_malformed(body: bytes) -> None:
    try:
        value = parse(body)
    except MalformedRequest:
        return
    assert json.loads(json.dumps(value, allow_nan=False)) == value


async def test_a_corpus_of_bad_json_gets_400_on_the_wire(idle: Live) -> None:
    for text in [*NOT_JSON, *NOT_SAFE]:
        for body in {text, b'{"kind":"echo","args":{"value":' + text + b"}}"}:
            answer = await exchange(idle, post("/v1/jobs", body))
            assert answer.status == 400, (answer, body[:80])
            assert answer.problem["type"] == "urn:jalebi:problem:malformed-request"
    assert (await idle.client.get("/v1/jobs")).json()["jobs"] == []


async def test_json_that_is_no_submission_gets_422_with_a_pointer_for_each_fault(idle: Live) -> None:
    for body, pointers in WRONG:
        headers = {"Content-Type": "application/json"}
        answer = await idle.client.post("/v1/jobs", content=json.dumps(body), headers=headers)
        assert answer.status_code == 422, (body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        wanted = "unknown-kind" if body == {"kind": "no"} else "validation-failed"
        assert problem["type"] == f"urn:jalebi:problem:{wanted}"
        assert [error["pointer"] for error in problem["errors"]] == pointers, (body, problem)
        assert all(error["detail"] for error in problem["errors"])
    assert (await idle.client.get("/v1/jobs")).json()["jobs"] == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)
_names = st.sampled_from(
    ["kind", "args", "queue", "priority", "tags", "run_at", "delay", "timeout", "max_attempts", "webhook", "x"]
)
_submissions = st.dictionaries(_names, _json, max_size=6) | st.builds(
    lambda more, value: {"kind": "echo", "args": {"value": value}, **more},
    st.dictionaries(_names.filter(lambda name: name not in {"kind", "args"}), _json, max_size=2),
    _json,
)


@given(
    bodies=st.lists(_submissions.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50), max_size=20)
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_submission_is_taken_or_refused_but_never_breaks_the_server(bodies: list[bytes]) -> None:
    async def send() -> None:
        shop = quick_shop(workers=False)
        async with serving(shop, shop) as idle:
            for body in bodies:
                headers = {"Content-Type": "application/json"}
                answer = await idle.client.post("/v1/jobs", content=body, headers=headers)
                assert answer.status_code in {202, 400, 422}, (body, answer.text)
                if answer.status_code == 202:
                    shown = await idle.job(answer.json()["id"])
                    assert shown["args"] == {"value": None, **json.loads(body).get("args", {})}

    asyncio.run(send())


async def test_a_body_must_be_called_json(idle: Live) -> None:
    good = b'{"kind":"echo"}'
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        None,
    ]:
        answer = await exchange(idle, post("/v1/jobs", good, content_type))
        assert answer.status == 415, content_type
        assert answer.problem["type"] == "urn:jalebi:problem:unsupported-media-type"
    for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"]:
        assert (await exchange(idle, post("/v1/jobs", good, content_type))).status == 202


async def test_a_body_that_says_it_is_too_large_is_refused_unread(idle: Live) -> None:
    limit = idle.shop.settings.max_body
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    for size in [limit + 1, 10**15, 10**30]:
        answer = await exchange(idle, head + b"Content-Length: %d\r\n\r\n" % size + b"{")
        if answer.status == 400 and size == 10**30:
            continue  # the HTTP parser may refuse the number itself
        assert answer.status == 413
        assert answer.problem["type"] == "urn:jalebi:problem:body-too-large"


async def test_a_caller_who_sends_far_too_much_still_reads_the_answer(idle: Live) -> None:
    for path in ["/v1/jobs", f"/v1/jobs/{(await idle.submit('echo'))['id']}/cancel"]:
        body = b" " * (20 << 20)
        answer = await idle.client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
    assert (await idle.client.get("/v1/stats")).json()["states"]["queued"] == 1


async def test_a_body_that_grows_too_large_in_chunks_is_refused(idle: Live) -> None:
    head = (
        b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = await exchange(idle, head + chunk * 17)
    assert answer.status == 413
    assert answer.problem["type"] == "urn:jalebi:problem:body-too-large"


async def test_a_body_of_just_the_limit_is_read(idle: Live) -> None:
    body = b'{"kind":"echo"}'.ljust(idle.shop.settings.max_body)
    assert (await exchange(idle, post("/v1/jobs", body))).status == 202
    chunks = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    head = (
        b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert (await exchange(idle, head + chunks)).status == 202


async def test_a_truncated_body_stores_nothing(idle: Live) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    for rest in [
        b'Content-Length: 100\r\n\r\n{"kind":"echo"}',
        b'Transfer-Encoding: chunked\r\n\r\nf\r\n{"kind":"echo"}\r\n',
    ]:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await exchange(idle, head + rest, end=True)
    assert (await idle.client.get("/v1/jobs")).json()["jobs"] == []


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on_or_not(idle: Live) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    assert (await exchange(idle, head + b"Content-Length: 15\r\n\r\n")).status == 100
    assert (await exchange(idle, head + b"Content-Length: 99999999\r\n\r\n")).status == 413


async def test_an_upload_over_its_limit_is_refused_and_leaves_nothing() -> None:
    shop = quick_shop(workers=False, max_upload=2048)
    async with serving(shop, shop) as idle:
        assert (await idle.client.post("/v1/uploads", content=b"x" * 2048)).status_code == 201
        answer = await idle.client.post("/v1/uploads", content=b"x" * 2049)
        assert answer.status_code == 413
        files = (await shop.open()).files
        assert list(files.staging.iterdir()) == []
        assert len(list(files.uploads.iterdir())) == 1
