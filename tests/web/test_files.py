"""Logs and files of jobs on the wire."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import Live
from tests.web.raw import exchange, problem

ODD_NAMES = [
    "plain.txt", "with space", "a%2Fb", "100%.txt", "q?x#y&z=1;.txt", "☃.bin", "é" * 100, 'quo"te', "it's", "...",
    "-rf", "~", "<b>.html", "a\u202etxt.exe", "CON", "trailing.", "+plus+", "ünï", "x" * 255,
]  # fmt: skip
BAD_NAMES = [
    "", ".", "..", "a/b", "../up", "a\\b", "a\r\nSet-Cookie: x=1", "a\nb", "a\0b", "\x7f", "\x85", "x" * 256, "é" * 128,
]  # fmt: skip


async def kept(live: Live, name: str, **args: Any) -> dict[str, Any]:
    """Return a completed job that has attached one file."""
    return await live.until((await live.submit("keep", args={"name": name, **args}))["id"], "completed")


async def test_files_are_listed_and_downloaded(quick: Live) -> None:
    job = await quick.until((await quick.submit("chatty"))["id"], "completed")
    files = (await quick.client.get(f"/v1/jobs/{job['id']}/files")).json()["files"]
    assert [(file["name"], file["size"], file["media_type"]) for file in files] == [
        ("notes.txt", 10, "text/plain"),
        ("zeros ☃.bin", 100_000, "application/x-zeros"),
    ]
    for file, content in zip(files, [b"some text\n", b"\x00" * 100_000], strict=True):
        answer = await quick.client.get(file["href"])
        assert answer.status_code == 200
        assert answer.content == content
        assert answer.headers["content-length"] == str(file["size"])
        assert answer.headers["content-type"].startswith(file["media_type"])
        assert answer.headers["accept-ranges"] == "bytes"
        assert re.fullmatch(r'"[0-9a-f]+"', answer.headers["etag"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["content-disposition"].startswith("attachment")


async def test_a_job_without_files_and_lines_has_empty_lists(idle: Live) -> None:
    job = await idle.submit("echo")
    assert (await idle.client.get(f"/v1/jobs/{job['id']}/files")).json() == {"files": []}
    assert (await idle.client.get(f"/v1/jobs/{job['id']}/logs")).content == b""
    problem(await idle.client.get(f"/v1/jobs/{job['id']}/files/none"), 404, "not-found")


async def test_files_of_odd_names_can_be_fetched_by_their_links(quick: Live) -> None:
    for name in ODD_NAMES:
        job = await kept(quick, name, content=name)
        [file] = (await quick.client.get(f"/v1/jobs/{job['id']}/files")).json()["files"]
        assert file["name"] == name
        answer = await exchange(quick, f"GET {file['href']} HTTP/1.1\r\nHost: here\r\n\r\n".encode("ascii"))
        assert (answer.status, answer.body) == (200, name.encode()), name
        disposition = answer.headers["content-disposition"]
        assert quote(name) in disposition, disposition
        assert disposition.isascii()


async def test_a_name_that_could_break_a_header_or_leave_its_folder_fails_the_job(quick: Live) -> None:
    for name in BAD_NAMES:
        if "\0" in name:  # can't be submitted
            continue
        job = await quick.until((await quick.submit("keep", args={"name": name}, max_attempts=1))["id"], "failed")
        assert job["error"]["type"] == "ValueError"
        assert (await quick.client.get(f"/v1/jobs/{job['id']}/files")).json() == {"files": []}
    for media_type in ["text/html\r\nX-Evil: 1", "text", "", "té/xt", "a/b; x=☃"]:
        args = {"name": "x", "media_type": media_type}
        job = await quick.until((await quick.submit("keep", args=args, max_attempts=1))["id"], "failed")
        assert job["error"]["type"] == "ValueError"


async def test_parts_of_a_file_are_served(quick: Live) -> None:
    job = await kept(quick, "digits", content="0123456789")
    href = f"/v1/jobs/{job['id']}/files/digits"
    tag = (await quick.client.get(href)).headers["etag"]
    for asked, content, where in [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
        ("bytes=-100", b"0123456789", "bytes 0-9/10"),
    ]:
        part = await quick.client.get(href, headers={"Range": asked})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, content, where)
        assert part.headers["content-length"] == str(len(content))
        assert part.headers["etag"] == tag
    several = await quick.client.get(href, headers={"Range": "bytes=0-1,4-5"})
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    matching = await quick.client.get(href, headers={"Range": "bytes=0-1", "If-Range": tag})
    assert (matching.status_code, matching.content) == (206, b"01")
    changed = await quick.client.get(href, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, b"0123456789")


async def test_a_part_after_the_end_is_refused_and_an_unreadable_range_is_ignored(quick: Live) -> None:
    job = await kept(quick, "digits", content="0123456789")
    href = f"/v1/jobs/{job['id']}/files/digits"
    beyond = await quick.client.get(href, headers={"Range": "bytes=10-"})
    problem(beyond, 416, "about:blank")
    assert beyond.headers["content-range"] == "bytes */10"
    for asked in ["bytes", "bytes=", "bytes=a-b", "bytes=5-2", "lines=1-2", "bytes=-", "bytes=" + "0-1," * 200]:
        answer = await quick.client.get(href, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, b"0123456789"), asked


async def test_a_file_that_the_caller_has_is_not_sent_again(quick: Live) -> None:
    job = await kept(quick, "digits", content="0123456789")
    href = f"/v1/jobs/{job['id']}/files/digits"
    tag = (await quick.client.get(href)).headers["etag"]
    for known in [tag, f"W/{tag}", f'"other", {tag}', "*"]:
        answer = await quick.client.get(href, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert (await quick.client.get(href, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_file_of_the_same_name_replaces_the_older_one(quick: Live) -> None:
    job = await kept(quick, "digits", content="0123456789")
    href = f"/v1/jobs/{job['id']}/files/digits"
    before = await quick.client.get(href)
    await quick.client.post(f"/v1/jobs/{job['id']}/retry")
    await quick.until(job["id"], "completed")
    after = await quick.client.get(href)
    assert after.content == before.content
    assert after.headers["etag"] != before.headers["etag"]
    assert len((await quick.client.get(f"/v1/jobs/{job['id']}/files")).json()["files"]) == 1
    assert len(list((await quick.shop.open()).files.of_job(job["id"]).iterdir())) == 1


async def test_a_file_whose_content_was_removed_by_hand_is_not_found(quick: Live) -> None:
    job = await kept(quick, "digits")
    for path in (await quick.shop.open()).files.of_job(job["id"]).iterdir():
        path.unlink()
    problem(await quick.client.get(f"/v1/jobs/{job['id']}/files/digits"), 404, "not-found")


async def test_logs_are_json_lines_from_any_line_on(quick: Live) -> None:
    job = await quick.until((await quick.submit("chatty", args={"lines": 4}))["id"], "completed")
    path = f"/v1/jobs/{job['id']}/logs"
    answer = await quick.client.get(path)
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [(line["line"], line["level"], line["message"]) for line in lines] == [
        (1, "info", "line 1"), (2, "warning", "line 2"), (3, "info", "line 3"), (4, "info", "line 4"),
    ]  # fmt: skip
    for after in range(6):
        rest = (await quick.client.get(path, params={"after": after})).text.splitlines()
        assert [json.loads(line)["line"] for line in rest] == list(range(after + 1, 5))
    for bad in ["-1", "x", "", "1.5", "9" * 30]:
        problem(await quick.client.get(path, params={"after": bad}), 400, "malformed-request")


async def test_logs_are_text_on_request(quick: Live) -> None:
    job = await quick.until((await quick.submit("chatty"))["id"], "completed")
    answer = await quick.client.get(f"/v1/jobs/{job['id']}/logs", headers={"Accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r"\S+Z WARNING line 2", answer.text.splitlines()[1])
    for accept in ["*/*", "application/json", "text/plain, application/x-ndjson", "garbage;;;"]:
        answer = await quick.client.get(f"/v1/jobs/{job['id']}/logs", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/x-ndjson"


async def test_many_lines_arrive_in_order_and_complete(quick: Live) -> None:
    job = await quick.until((await quick.submit("talk", args={"lines": 2500}))["id"], "completed")
    lines = (await quick.client.get(f"/v1/jobs/{job['id']}/logs")).text.splitlines()
    assert [json.loads(line)["line"] for line in lines] == list(range(1, 2501))
    assert job["seq"] == 2500 + 3


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 1000])
async def test_an_upload_is_kept_as_it_came(quick: Live, content: bytes) -> None:
    answer = await quick.client.post("/v1/uploads", content=content)
    assert answer.status_code == 201
    assert answer.json()["size"] == len(content)
    files = (await quick.shop.open()).files
    assert (files.uploads / answer.json()["id"]).read_bytes() == content
