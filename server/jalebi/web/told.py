"""What a reader has just done, said on the next page: a cookie that names it, and is gone once it is shown."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from jalebi.web.rooms import root_of

COOKIE: Final = "jalebi_done"
#: The sentences; a cookie can say nothing else.
SENTENCES: Final = {
    "cancelled": "Cancelled.",
    "cancelling": "Asked to stop; it ends in a moment.",
    "retried": "Started over.",
    "redelivered": "Handed in again; it is sent at once.",
    "deleted": "The job is deleted.",
    "submitted": "Submitted.",
    "queue-paused": "The queue is paused: what runs goes on, nothing else starts.",
    "queue-resumed": "The queue goes on.",
    "queue-limited": "The queue's limit is set.",
    "worker-paused": "The worker is paused: what runs goes on, nothing else starts.",
    "worker-resumed": "The worker goes on.",
    "bulk": "Started; this page shows how far it is.",
}
#: Seconds in which the next page has to come.
_LASTS: Final = 30


def telling(request: Request, answer: Response, what: str) -> Response:
    """Return the answer to an action, so that the next page says what was done."""
    if what in SENTENCES:
        answer.set_cookie(
            COOKIE, what, max_age=_LASTS, path=root_of(request) or "/", httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
    return answer


def told(request: Request) -> str:
    """Return the sentence that a page has to say, or nothing. What a script fetches is not the next page."""
    if "hx-request" in request.headers:
        return ""
    return SENTENCES.get(request.cookies.get(COOKIE, ""), "")


def forget(request: Request, answer: Response) -> None:
    """Let a page be the last one that says it."""
    answer.delete_cookie(COOKIE, path=root_of(request) or "/", httponly=True, samesite="strict")
