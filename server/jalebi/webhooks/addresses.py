"""Where a webhook may go: URLs as they must be written, and the addresses that may be connected to. No I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: What is not the public internet: the special-purpose registry of IANA (RFC 6890), multicast, what is reserved, the
#: relays of 6to4, and the address at which one cloud answers its own machines.
_NOT_PUBLIC: Final = [
    IPv4Network(one)
    for one in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
]  # fmt: skip
#: Only this is given out for the public internet (RFC 4291); IPv4 in disguise, local and multicast are outside of it.
_PUBLIC_6: Final = IPv6Network("2000::/3")
#: Of these, tunnels (Teredo, 6to4), benchmarks, identifiers and documentation lie within.
_NOT_PUBLIC_6: Final = [IPv6Network(one) for one in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII | re.IGNORECASE)
_MOST: Final = 2048
_PORTS: Final = {"http": 80, "https": 443}


class Refused(Exception):
    """A webhook may not go there; the message is one sentence for whoever has asked for it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads: a name, or an address as it was written."""

    scheme: str
    host: str
    port: int
    address: Address | None = None


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks from their texts. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def place(url: str) -> Place:
    """Return where a URL leads (RFC 3986). Raises Refused for all that two readers might not read alike."""
    if len(url) > _MOST or not url.isascii() or any(char <= " " or char in '\\\x7f<>"^`{|}' for char in url):
        raise Refused("The URL may have 2,048 ASCII characters, without spaces and backslashes.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("The URL can't be read.") from None
    if parts.scheme not in _PORTS:
        raise Refused("The URL must begin with https:// or http://.")
    if "@" in parts.netloc:
        raise Refused("The URL may not have a user or a password in it.")
    if "#" in url:
        raise Refused("The URL may not have a fragment.")
    if port == 0 or parts.netloc.endswith(":"):
        raise Refused("The URL has a port that can't be.")
    host = (parts.hostname or "").rstrip(".")
    return Place(parts.scheme, host, port or _PORTS[parts.scheme], _written(host, parts.netloc))


def _written(host: str, netloc: str) -> Address | None:
    """Return the address that a host is; None where it is a name. Raises Refused."""
    if netloc.startswith("["):
        try:
            return IPv6Address(host if "%" not in host else "")
        except ValueError:
            raise Refused("The URL has an IPv6 address that can't be.") from None
    labels = host.split(".")
    # A host whose last part is a number is an IPv4 address to most readers, in forms that few know of.
    if re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]*", labels[-1]):
        try:
            return IPv4Address(host)
        except ValueError:
            raise Refused("The URL has an IPv4 address that is not written as four decimal numbers.") from None
    if not host or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("The URL has a host that can't be.")
    return None


def may_reach(address: str | Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether an address may be connected to: one of the public internet, or of a network that is allowed.

    An IPv4 address in the disguise of IPv6 (mapped, translated, tunnelled) is what is written, not what is meant: it is
    reachable only where its own network is allowed.
    """
    found = ip_address(address) if isinstance(address, str) else address
    if any(found in network for network in allowed):  # of the other version: not in it
        return True
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _NOT_PUBLIC)
    if found.scope_id is not None or _isatap(found):
        return False
    return found in _PUBLIC_6 and not any(found in network for network in _NOT_PUBLIC_6)


def _isatap(address: IPv6Address) -> bool:
    """Whether the lower half holds an IPv4 address in a tunnel's way (RFC 5214)."""
    return (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE


def without_query(url: str) -> str:
    """Return a URL as it may be shown: what follows its path may be a secret."""
    return url.partition("?")[0]
