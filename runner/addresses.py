"""Which network addresses are public, however they are wrapped."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def read_address(text: str) -> Address:
    """Return the address in a text; an IPv6 one that only wraps an IPv4 one is unwrapped.

    Wrapped are mapped, 6to4, Teredo and NAT64 addresses: connecting to them reaches the inner one. A
    zone (`fe80::1%eth0`) is ignored.

    Raises:
        ValueError: It is no address.

    >>> read_address("::ffff:10.0.0.1")
    IPv4Address('10.0.0.1')
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if wrapped is None and address in _NAT64:
        wrapped = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return wrapped or address


def is_public(address: Address) -> bool:
    """Say whether an address is one of the open internet: not private, link-local, reserved or multicast."""
    return address.is_global and not address.is_multicast


def may_hold_results(address: Address, *, loopback: bool) -> bool:
    """Say whether a result may be fetched from an address; from this machine, where the service is here too."""
    return is_public(address) or (loopback and address.is_loopback)


def is_loopback(url: str) -> bool:
    """Say whether a url's host is this machine, by name."""
    host = (urlsplit(url).hostname or "").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, also one like 127.0.0.1.example.com
        return False
