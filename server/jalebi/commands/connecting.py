"""Which server a command talks to, and how long it tries."""

import argparse
import os
from typing import Any, Final

from dotenv import dotenv_values

from jalebi.client import AsyncClient, Client
from jalebi.commands.arguments import DEFAULT_URL

#: Seconds in which a server must be reached; and reached again, once it was.
FIRST: Final = 3.0
AGAIN: Final = 300.0
#: What a command exits with when the job that it follows has ended.
ENDS: Final = {"completed": 0, "failed": 1, "cancelled": 3}


class Usage(Exception):
    """Something was asked for that can't be; the message is one sentence for a person."""


def connect(options: argparse.Namespace, *, patience: float = FIRST) -> Client:
    """Return a client of the server that the options or the environment name. Raises Usage."""
    try:
        return Client(**_where(options), timeout=max(patience, 1.0), patience=patience)
    except ValueError as error:
        raise Usage(f"The address {error}.") from None


def connect_async(options: argparse.Namespace) -> AsyncClient:
    """Return the same for asyncio. Raises Usage."""
    try:
        return AsyncClient(**_where(options), patience=FIRST)
    except ValueError as error:
        raise Usage(f"The address {error}.") from None


def address(options: argparse.Namespace) -> str:
    """Return where the server is."""
    return options.url or _setting("JALEBI_URL") or DEFAULT_URL


def _where(options: argparse.Namespace) -> dict[str, Any]:
    return {"url": address(options), "token": options.token or _setting("JALEBI_TOKEN")}


def _setting(name: str) -> str | None:
    """Return a setting from the environment, else from the `.env` file that the server reads too."""
    return os.environ.get(name) or dotenv_values(".env").get(name) or None
