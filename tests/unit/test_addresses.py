"""Which addresses are of the open internet: the registries of special addresses, line by line."""

from __future__ import annotations

import pytest

from runner.service.addresses import is_invented, may_hold_results, not_public, read_address, special

SPECIAL = [
    # (first, last) of a range; the addresses right outside of it are in OUTSIDE where they are public.
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.31.196.0", "192.31.196.255"),
    ("192.52.193.0", "192.52.193.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("192.175.48.0", "192.175.48.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "239.255.255.255"),
    ("240.0.0.0", "255.255.255.255"),
    ("::", "::1"),
    ("::0.0.0.2", "::255.255.255.255"),  # IPv4-compatible
    ("::ffff:0:0.0.0.0", "::ffff:0:255.255.255.255"),  # IPv4-translated
    ("::ffff:0:93.184.216.34", "::93.184.216.34"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::", "100::ffff:ffff:ffff:ffff"),
    ("100:0:0:1::", "100::1:ffff:ffff:ffff:ffff"),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),  # Teredo
    ("2001:1::1", "2001:1::3"),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
    ("2001:3::", "2001:4:112::"),
    ("2001:10::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),  # 6to4
    ("2002:5db8:d822::1", "2002:7f00:1::"),  # of a public address, and of this machine
    ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
    ("3ffe::", "3ffe:ffff::"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "5f00::1"),
    ("8000::", "dfff::"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::1%eth0", "fe80::1%25"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    # Wrapped: what is inside decides.
    ("::ffff:0.0.0.0", "::ffff:255.255.255.255"),
    ("::ffff:10.0.0.1", "::ffff:a9fe:a9fe"),
    ("64:ff9b::10.0.0.1", "64:ff9b::7f00:1"),
    ("64:ff9b::198.18.0.7", "64:ff9b::100.64.0.1"),
]

PUBLIC = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::6810:84e5",
    "2606:4700::6810:84e5%eth0",
    "2a00:1450:4001:82a::200e",
    "3fff:1000::1",
    "::ffff:93.184.216.34",
    "64:ff9b::93.184.216.34",  # NAT64, where the network has nothing but IPv6
]


@pytest.mark.parametrize("text", [text for ends in SPECIAL for text in ends])
def test_special_addresses_hold_no_results(text: str) -> None:
    address = read_address(text)

    assert special(address)
    assert not may_hold_results(address, loopback=False)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_hold_results(text: str) -> None:
    address = read_address(text)

    assert special(address) is None
    assert may_hold_results(address, loopback=False)
    assert not is_invented(address)


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::", False),
        ("2002:7f00:1::", False),
    ],
)
def test_a_service_on_this_machine_has_its_results_here_and_on_the_internet(text: str, here: bool) -> None:
    assert may_hold_results(read_address(text), loopback=True) is here
    assert may_hold_results(read_address("93.184.216.34"), loopback=True)


@pytest.mark.parametrize("text", ["198.18.0.7", "198.19.255.1", "::ffff:198.18.0.7", "fc00::1a"])
def test_what_a_proxy_tool_makes_up_is_known(text: str) -> None:
    address = read_address(text)

    assert is_invented(address)
    assert "proxy tools" in str(special(address))


def test_a_provider_s_shared_addresses_are_named_as_such() -> None:
    assert "Tailscale" in str(special(read_address("100.64.0.1")))
    assert not is_invented(read_address("100.64.0.1"))


def test_what_to_do_depends_on_whose_address_it_is() -> None:
    why, hint = not_public(read_address("198.18.0.7"), "media.example")
    _, other = not_public(read_address("10.0.0.1"), "media.example")

    assert why.startswith("media.example has the address 198.18.0.7, which is not a public one but")
    assert "fake-ip" in why
    assert "HTTPS_PROXY=http://127.0.0.1:" in hint
    assert "VPN" in other
