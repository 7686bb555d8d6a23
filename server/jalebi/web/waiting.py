"""Asking without asking again and again: ETag and 304 (RFC 9110, section 13), `Prefer: wait` (RFC 7240)."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from jalebi.events import Event, Outlook
from jalebi.jobs import Job
from jalebi.mailbox import Lagged, Mailbox
from jalebi.web.following import while_there
from jalebi.web.rooms import Rooms

#: Seconds for which a request may wait at the most.
MOST: Final = 30.0
#: What a caller keeps may be shown again once we have said that nothing has changed.
REVALIDATE: Final = {"Cache-Control": "private, no-cache"}
_WAIT: Final = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', re.ASCII | re.IGNORECASE | re.DOTALL)


def preferred_wait(request: Request) -> int:
    """Return for how many seconds a caller prefers to wait, 30 at the most; 0 where it does not say, or not so."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        found = _WAIT.fullmatch(preference)
        if found:  # the first counts, where there are more (section 2)
            return min(int(found[1]), int(MOST))
    return 0


def applied(seconds: int) -> dict[str, str]:
    """Return the header that says that a preference was honoured."""
    return {"Preference-Applied": f"wait={seconds}"} if seconds else {}


def etag(job: Job, outlook: Outlook) -> str:
    """Return a job's entity tag. It is weak: when the job may start and end is reckoned anew for every answer."""
    # What is left is reckoned anew for every look, too.
    progress = None if job.progress is None else replace(job.progress, left=None)
    return tag_of((job.id, job.seq, progress, job.cancellation, outlook.position))


def tag_of(value: Any) -> str:
    """Return a weak entity tag of a value's representation."""
    return f'W/"{hashlib.blake2b(repr(value).encode(), digest_size=12).hexdigest()}"'


def known(request: Request, tag: str) -> bool:
    """Whether a caller has what the tag stands for already."""
    given = ",".join(request.headers.getlist("if-none-match")).split(",")
    return bool({one.strip().removeprefix("W/") for one in given} & {tag.removeprefix("W/"), "*"})


def not_modified(tag: str, headers: dict[str, str]) -> Response:
    """Return 304."""
    return Response(status_code=304, headers={**REVALIDATE, "ETag": tag, **headers})


async def until(request: Request, rooms: Rooms, job_id: str, seconds: float, enough: Callable[[Job], bool]) -> None:
    """Wait until a job is as it is waited for, for so many seconds at the most, or until the server stops.

    `enough` is asked at first, and after each event or progress of the job. Raises Gone where the caller is gone.
    """

    async def there() -> None:
        with rooms.hub.subscribe(job_id) as mailbox:
            while not enough(await rooms.queue.get(job_id)):
                if not await _something(mailbox):
                    return

    await _within(request, seconds, there())


async def until_news(
    request: Request,
    rooms: Rooms,
    wants: Callable[[Job], bool],
    seconds: float,
    enough: Callable[[], Awaitable[bool]],
    *,
    progress: bool = True,
) -> None:
    """Wait in the same way for whatever becomes of the jobs that are wanted; `progress` says whether that counts."""

    async def there() -> None:
        with rooms.hub.subscribe(wants=wants) as mailbox:
            while not await enough():
                if not await _something(mailbox, progress=progress):
                    return

    await _within(request, seconds, there())


async def _something(mailbox: Mailbox, *, progress: bool = True) -> bool:
    """Wait for news; False where there will be none any more."""
    try:
        async for batch in mailbox:
            if progress or any(isinstance(message, Event) for message in batch):
                return True
    except Lagged:  # so many that they did not fit: something has changed
        mailbox.reopen()
        return True
    return False


async def _within(request: Request, seconds: float, work: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await while_there(work, _disconnected(request))
    except TimeoutError:
        pass


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
