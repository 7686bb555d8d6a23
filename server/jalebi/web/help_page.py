"""The help page: the keys, and how the reader wants times and the look; the same is shown in a dialog."""

from starlette.requests import Request
from starlette.responses import Response

from jalebi.web.templating import page

#: What each key does, as the help says it.
KEYS = (
    (("/",), "Search jobs"),
    (("j", "k"), "Next and previous row"),
    (("Enter",), "Open the row"),
    (("x",), "Select the row"),
    (("p",), "Pause and resume live updates"),
    (("g", "o"), "Overview"),
    (("g", "j"), "Jobs"),
    (("g", "k"), "Kinds"),
    (("g", "q"), "Queues"),
    (("g", "w"), "Workers"),
    (("g", "s"), "Schedules"),
    (("g", "e"), "Errors"),
    (("g", "y"), "System"),
    (("?",), "This help"),
    (("Esc",), "Close a dialog"),
)


async def help_page(request: Request) -> Response:
    """`GET /help`: the keys and the reader's own settings."""
    return page(request, "help.html", keys=KEYS)
