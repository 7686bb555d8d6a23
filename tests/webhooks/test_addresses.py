"""Where webhooks may not go: every form of an address that is not of the public internet, and 0 connections to it."""

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import httpcore2
import pytest

from jalebi.webhooks.addresses import Refused, may_reach, networks, place
from jalebi.webhooks.connecting import Guarded, Resolver, Unknown, checked
from jalebi.webhooks.sending import send

#: Hosts in every disguise: of loopback, private, link-local, translated, tunnelled and reserved addresses.
FORBIDDEN = [
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "0x7f.1", "0x7f000001", "0X7F000001", "2130706433",
    "017700000001",
    "0177.0.0.1", "0177.1", "127.0.0.0x1", "127.000.000.001", "0", "0.0.0.0", "0.1.2.3", "00000177.0.0.1", "127.0.0.1.",
    "localhost", "LOCALHOST", "localhost.", "①②⑦.⓪.⓪.①", "127。0。0。1", "10.0.0.1", "10.255.255.255", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "192.168.255.255", "169.254.169.254", "169.254.0.1", "0xa9fea9fe", "2852039166",
    "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::ffff:0:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]",
    "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::1]", "[2001::1]",
    "[2001:db8::1]", "[2001:2::1]", "[2001:10::1]", "[3fff::1]", "[fc00::1]", "[fd12:3456::1]", "[fe80::1]",
    "[fe80::1%25lo]", "[fe80::1%lo]", "[fec0::1]", "[ff02::1]", "[ff0e::1]", "[100::1]", "[5f00::1]", "[4000::1]",
    "[2606:4700::5efe:7f00:1]", "[2606:4700::200:5efe:10.0.0.1]", "[::ffff:0x7f.1]", "[127.0.0.1]", "[1::2::3]",
]  # fmt: skip

#: URLs that no two readers need read alike, or that are for something else.
WRONG = [
    "", "hook", "//example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://127.0.0.1:6379/_x",
    "http:example.com",
    "http:///x", "http://", "https://user@example.com/", "https://user:secret@example.com/", "https://example.com@127.0.0.1/",
    "https://example.com\\@127.0.0.1/", "https://example.com/#here", "https://exa mple.com/", "https://example.com/\n",
    "https://example.com:0/", "https://example.com:/", "https://example.com:99999/", "https://example.com:x/",
    "https://exämple.com/", "https://-example.com/", "https://example..com/", "https://.example.com/", "https://[::1/",
    "https://1.2.3.4.5/", "https://1.2.3/", "https://1.2.3.256/", "https://example.com/" + "x" * 2048, "https://a%62c.com/",
    "HTTP://127.0.0.1.nip.io\t/",
]  # fmt: skip


@pytest.fixture
def names() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.close()


class Counting:
    """Counts connections, and makes none."""

    def __init__(self) -> None:
        self.connects: list[str] = []

    async def connect_tcp(self, host: str, port: int, timeout: float | None = None) -> Any:
        self.connects.append(host)
        raise httpcore2.ConnectError("not in a test")


@pytest.mark.parametrize("host", FORBIDDEN)
async def test_nothing_connects_to_what_is_not_public_however_it_is_written(host: str, names: Resolver) -> None:
    counting = Counting()
    guarded = Guarded((), names)
    guarded._plain = counting
    async with httpcore2.AsyncConnectionPool(network_backend=guarded) as client:
        url = f"http://{host}:8080/hook"
        tried = None
        try:
            found = place(url)
        except Refused:
            # What is refused as it stands is not taken; even if it were, nothing would come of it.
            found = None
        if host.isascii():
            tried = await _sent(client, url)
        if found is not None and found.address is not None:
            assert not may_reach(found.address)
        elif found is not None:
            with pytest.raises((Refused, OSError)):
                await checked(found.host, found.port, (), names)
    assert counting.connects == []
    assert tried is None or tried.status is None


async def _sent(client: httpcore2.AsyncConnectionPool, url: str) -> Any:
    try:
        return await send(client, url, {}, "{}", deadline=5)
    except (ValueError, httpcore2.UnsupportedProtocol):
        return None


def test_there_are_sixty_forms_of_them_at_least() -> None:
    assert len(set(FORBIDDEN)) >= 60


@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        place(url)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://example.com/hook", "example.com", 443),
        ("http://Example.com.:8080/hook?token=a%20b", "example.com", 8080),
        ("https://93.184.215.14/", "93.184.215.14", 443),
        ("https://[2606:2800:21f::1]:444/", "2606:2800:21f::1", 444),
        ("https://xn--exmple-cua.com", "xn--exmple-cua.com", 443),
        ("https://a_b.example.com/~x/(y)", "a_b.example.com", 443),
    ],
)
def test_a_url_of_the_public_internet_is_taken(url: str, host: str, port: int) -> None:
    found = place(url)
    assert (found.host, found.port) == (host, port)
    assert found.address is None or may_reach(found.address)


def test_a_network_that_is_allowed_is_reached_and_no_other() -> None:
    allowed = networks(["127.0.0.0/8", "fd00::/8"])
    assert may_reach("127.1.2.3", allowed)
    assert may_reach("fd12::1", allowed)
    for other in ("10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::1"):
        assert not may_reach(other, allowed), other


class Rebinding:
    """A resolver that says something else each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


async def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to() -> None:
    rebinding = Rebinding(["93.184.215.14"], ["127.0.0.1"])
    counting = Counting()
    guarded = Guarded((), rebinding)
    guarded._plain = counting
    async with httpcore2.AsyncConnectionPool(network_backend=guarded) as client:
        assert (await send(client, "http://rebind.example.com/", {}, "{}")).status is None
        assert counting.connects == ["93.184.215.14"]
        assert rebinding.asked == 1
        refused = await send(client, "http://rebind.example.com/", {}, "{}")
    assert "may not reach" in (refused.error or "")
    assert counting.connects == ["93.184.215.14"]


async def test_one_forbidden_address_among_others_is_enough_to_refuse() -> None:
    with pytest.raises(Refused):
        await checked("mixed.example.com", 80, (), Rebinding(["93.184.215.14", "10.0.0.1"]))
    with pytest.raises(Unknown):
        await checked("empty.example.com", 80, (), Rebinding([]))


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    counting = Counting()
    guarded = Guarded((), Rebinding(["93.184.215.14", "93.184.215.15"]))
    guarded._plain = counting
    with pytest.raises(httpcore2.ConnectError):
        await guarded.connect_tcp("two.example.com", 80)
    assert counting.connects == ["93.184.215.14", "93.184.215.15"]
    with pytest.raises(Refused):
        await guarded.connect_unix_socket("/run/docker.sock")


async def test_names_are_found_as_the_system_finds_them(monkeypatch: pytest.MonkeyPatch, names: Resolver) -> None:
    assert "127.0.0.1" in await names("localhost", 80)

    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(Unknown):
        await names("none.example.com", 80)
    with pytest.raises(Unknown):
        await names("x" * 64 + ".com", 80)
