"""Which network addresses belong to the open internet, however they are wrapped.

Source: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890 and its updates), read in 2026.
They are written out here because what the standard library says of them differs between versions of Python.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# All that has been given out for hosts so far; whatever is special outside of it needs no line of its own.
_HOSTS_V6 = ipaddress.IPv6Network("2000::/3")

_PRIVATE = "an address of a private network"
_HERE = "this machine itself"
_LINK = "an address of the local link alone"
_MANY = "a multicast address"
_EXAMPLE = "an address for documentation"
_RESERVED = "a reserved address"
_PROTOCOL = "an address that only protocols use"
_TUNNEL = "an address of a tunnel from IPv6 to IPv4"
_SHARED = "an address that providers and VPNs share out among their own (Tailscale does)"
_INVENTED = "one that proxy tools make up (fake-ip)"

# The first that fits names it. Some of the protocols' ranges can be reached from anywhere; no host is in them.
_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", _HERE),
        ("10.0.0.0/8", _PRIVATE),
        ("100.64.0.0/10", _SHARED),
        ("127.0.0.0/8", _HERE),
        ("169.254.0.0/16", _LINK),
        ("172.16.0.0/12", _PRIVATE),
        ("192.0.0.0/24", _PROTOCOL),
        ("192.0.2.0/24", _EXAMPLE),
        ("192.31.196.0/24", _PROTOCOL),  # AS112
        ("192.52.193.0/24", _PROTOCOL),  # AMT
        ("192.88.99.0/24", _TUNNEL),  # 6to4 relays
        ("192.168.0.0/16", _PRIVATE),
        ("192.175.48.0/24", _PROTOCOL),  # AS112
        ("198.18.0.0/15", _INVENTED),  # benchmarks; fake-ip of Clash, Surge, sing-box and others
        ("198.51.100.0/24", _EXAMPLE),
        ("203.0.113.0/24", _EXAMPLE),
        ("224.0.0.0/4", _MANY),
        ("240.0.0.0/4", _RESERVED),
        ("::/127", _HERE),
        ("2001::/32", _TUNNEL),  # Teredo
        ("2001:db8::/32", _EXAMPLE),
        ("2001::/23", _PROTOCOL),
        ("2002::/16", _TUNNEL),  # 6to4
        ("2620:4f:8000::/48", _PROTOCOL),  # AS112
        ("3ffe::/16", _RESERVED),  # 6bone, given back
        ("3fff::/20", _EXAMPLE),
        ("fc00::/18", _INVENTED),  # fake-ip for IPv6
        ("fc00::/7", _PRIVATE),
        ("fe80::/10", _LINK),
        ("fec0::/10", _PRIVATE),  # site-local, deprecated and still routed
        ("ff00::/8", _MANY),
    )
)


def read_address(text: str) -> Address:
    """Return the address in a text; an IPv6 one that only stands for an IPv4 one is unwrapped.

    Those are mapped addresses and the well-known prefix of NAT64, where connecting reaches the inner address.
    A zone (`fe80::1%eth0`) is ignored.

    Raises:
        ValueError: It is no address.

    >>> read_address("::ffff:10.0.0.1")
    IPv4Address('10.0.0.1')
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and (address in _MAPPED or address in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def special(address: Address) -> str | None:
    """Return what an address is that no host of the open internet has, as words; None for a public one.

    >>> special(ipaddress.ip_address("10.0.0.1"))
    'an address of a private network'
    """
    for network, kind in _SPECIAL:
        if address in network:  # False for another version
            return kind
    if isinstance(address, ipaddress.IPv6Address) and address not in _HOSTS_V6:
        return _RESERVED
    return None


def is_invented(address: Address) -> bool:
    """Say whether an address is one of those that local proxy tools make up to catch connections by name."""
    return special(address) is _INVENTED


def not_public(address: Address, host: str) -> tuple[str, str]:
    """Return why no result is fetched from a host with such an address, and what to do about it."""
    why = f"{host} has the address {address}, which is not a public one but {special(address)}"
    if host.strip("[]") == str(address):
        why = f"{host} is not a public address but {special(address)}"
    if is_invented(address):
        return why, (
            f"let that tool leave {host} out, or set HTTPS_PROXY to its own port, as in"
            " HTTPS_PROXY=http://127.0.0.1:7890"
        )
    return why, "if a VPN or a local proxy answers names with addresses of its own, set HTTPS_PROXY instead"


def may_hold_results(address: Address, *, loopback: bool) -> bool:
    """Say whether a result may be fetched from an address; from this machine, where the service is here too."""
    return special(address) is None or (loopback and address.is_loopback)


def is_loopback(url: str) -> bool:
    """Say whether a url's host is this machine, by name."""
    host = (urlsplit(url).hostname or "").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, also one like 127.0.0.1.example.com
        return False
