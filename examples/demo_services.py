"""What the demo needs around it while its server runs: a mail server and slow web pages, both on loopback."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from demo_mailbox import Mailbox, mail_server
from demo_pages import slow_pages, web_server


@dataclass
class Services:
    """Where the services listen; empty where and while they do not run."""

    smtp: str = ""
    web: str = ""
    mailbox: Mailbox = field(default_factory=Mailbox)

    def pages(self) -> list[str]:
        """Return the addresses of the slow pages."""
        return slow_pages(self.web) if self.web else []


#: The services of this process. Kinds that are `async def` run in the server's process and find them here;
#: a process that runs a single job imports this module too, and finds them empty.
running = Services()


@asynccontextmanager
async def services(_shop: object = None) -> AsyncIterator[None]:
    """Open the mail server and the pages on free ports; close them when the server stops."""
    # Each mail and each visit is a line of theirs, or ten; the jobs say what is worth knowing.
    for library in ("mail.log", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)
    running.mailbox = Mailbox()
    async with mail_server(running.mailbox) as smtp, web_server(running.mailbox) as web:
        running.smtp, running.web = smtp, web
        try:
            yield
        finally:
            running.smtp = running.web = ""
