"""Logs and files of jobs, and the files that callers hand in."""

import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Final
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, MalformedRangeHeader, RangeNotSatisfiable, Response, StreamingResponse

from jalebi.errors import BodyTooLarge, MalformedRequest, NotFound, RangeTooFar
from jalebi.events import encode, rfc3339
from jalebi.files import etag
from jalebi.store import reads
from jalebi.web.answers import NO_STORE, json_answer
from jalebi.web.bodies import whole
from jalebi.web.rooms import rooms_of, root_of

_PAGE: Final = 1000
#: A browser must neither guess what a file is nor run it as a page of ours.
_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
}


async def logs(request: Request) -> Response:
    """`GET /v1/jobs/{id}/logs`: the job's lines, as JSON lines or as text."""
    rooms, job_id = rooms_of(request), request.path_params["id"]
    after = whole(request.query_params, "after", 0) or 0
    await rooms.queue.get(job_id)
    plain = _prefers_text(request.headers.get("accept", ""))
    write = _as_text if plain else _as_json

    async def lines() -> AsyncIterator[bytes]:
        last = after
        while page := await rooms.store.read(partial(reads.log_lines, job_id=job_id, after=last, limit=_PAGE)):
            last = page[-1].line
            yield b"".join(write(line) for line in page)

    media_type = "text/plain; charset=utf-8" if plain else "application/x-ndjson"
    return StreamingResponse(lines(), headers={**NO_STORE, "X-Content-Type-Options": "nosniff"}, media_type=media_type)


def _prefers_text(accept: str) -> bool:
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "text/plain" in wanted and "application/x-ndjson" not in wanted and "application/json" not in wanted


def _as_json(line: reads.LogLine) -> bytes:
    shown = {"line": line.line, "at": rfc3339(line.at), "level": line.level, "message": line.message}
    return encode(shown) + b"\n"


def _as_text(line: reads.LogLine) -> bytes:
    # A log line stays one line, whatever it holds: terminals obey control characters.
    message = re.sub(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], line.message)
    return f"{rfc3339(line.at)} {line.level.upper():7} {message}\n".encode()


async def files(request: Request) -> Response:
    """`GET /v1/jobs/{id}/files`: what the job has attached."""
    rooms, job_id = rooms_of(request), request.path_params["id"]
    await rooms.queue.get(job_id)
    found = await rooms.store.read(lambda connection: reads.files(connection, job_id))
    root = root_of(request)
    return json_answer(
        {
            "files": [
                {
                    "name": file.name,
                    "size": file.size,
                    "media_type": file.media_type,
                    "href": f"{root}/v1/jobs/{job_id}/files/{quote(file.name, safe='')}",
                }
                for file in found
            ]
        }
    )


async def file(request: Request) -> Response:
    """`GET /v1/jobs/{id}/files/{name}`: one file, whole or in ranges (RFC 9110)."""
    rooms, job_id = rooms_of(request), request.path_params["id"]
    await rooms.queue.get(job_id)
    found = await rooms.queue.file(job_id, request.path_params["name"])
    path = rooms.files.root / found.path
    try:
        tag = etag(path)
    except FileNotFoundError:
        raise NotFound(f"The content of the file {found.name!r} is gone.") from None
    headers = {**_SAFE, "ETag": tag, "Accept-Ranges": "bytes"}
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Download(
        path, headers=headers, media_type=found.media_type, filename=found.name, content_disposition_type="attachment"
    )


class Download(FileResponse):
    """A file, whole or in ranges, whose errors are problems like all others."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []  # RFC 9110: a range that can't be read is left out of account
        except RangeNotSatisfiable:
            headers = {"Content-Range": f"bytes */{file_size}"}
            raise RangeTooFar(f"The file has {file_size} bytes.", headers=headers) from None


async def upload(request: Request) -> Response:
    """`POST /v1/uploads`: hand in a file for a job's `Upload` parameter; the answer has its id."""
    rooms = rooms_of(request)
    size = 0
    try:
        async with rooms.files.receive() as (upload_id, sink):
            async for part in request.stream():
                size += len(part)
                if size > rooms.settings.max_upload:
                    raise BodyTooLarge(f"An upload may have {rooms.settings.max_upload} bytes at most.")
                sink.write(part)
    except ClientDisconnect:
        raise MalformedRequest("The body ended before its length.") from None
    return json_answer({"id": upload_id, "size": size}, 201)
