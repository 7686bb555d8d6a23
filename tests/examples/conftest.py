"""What the tests of the bundled kinds share: the folder on the path, a context without a server, the services."""

import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from jalebi import JobContext, Upload
from jalebi.context import current
from tests.examples.fake_link import FakeLink

EXAMPLES = Path(__file__).parents[2] / "examples"
# As the command line does it for the file that it is given.
sys.path.insert(0, str(EXAMPLES))

from demo_services import Services, running, services  # noqa: E402


@pytest.fixture
def link(tmp_path: Path) -> FakeLink:
    return FakeLink(tmp_path)


@pytest.fixture
def ctx(link: FakeLink) -> Iterator[JobContext]:
    context = JobContext("0199c0de-0000-7000-8000-000000000001", 1, "test", link)
    before = current.set(context)
    yield context
    current.reset(before)


@pytest.fixture
def upload(tmp_path: Path) -> Callable[[bytes], Upload]:
    def hand_in(content: bytes) -> Upload:
        name = "0199c0de-0000-7000-8000-0000000000aa"
        (tmp_path / name).write_bytes(content)
        return Upload(name)

    return hand_in


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the journals of mailings out of the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def unused_port() -> int:
    """Return a port of loopback where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture
async def demo() -> AsyncIterator[Services]:
    async with services():
        yield running
