"""Fixtures for the tests of the client."""

from collections.abc import AsyncIterator

import pytest

from tests.client.proxy import Proxy, proxied
from tests.client.styles import Async, Style, Sync
from tests.support import Live


@pytest.fixture(params=[Async, Sync])
def style(request: pytest.FixtureRequest) -> Style:
    found: Style = request.param
    return found


@pytest.fixture
async def client(quick: Live, style: Style) -> AsyncIterator[Async | Sync]:
    """A client of the quick shop."""
    found = style(quick.url)
    yield found
    await found.close()


@pytest.fixture
async def proxy(quick: Live) -> AsyncIterator[Proxy]:
    """A proxy before the quick shop."""
    async with proxied(quick.url) as found:
        yield found


@pytest.fixture
async def beyond(proxy: Proxy, style: Style) -> AsyncIterator[Async | Sync]:
    """A client that reaches the quick shop through the proxy only."""
    found = style(proxy.url, patience=15.0)
    yield found
    await found.close()
