"""Which addresses --public-only lets through: the registries as tables, and what holds for every address."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.addresses import is_public

PUBLIC_4 = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "192.31.196.1", "192.52.193.1", "192.175.48.1", "223.255.255.255")

# The addresses around the edges of each network that is not public.
EDGES_4 = {
    "this network": ("0.0.0.0", "0.255.255.255", None, "1.0.0.0"),  # noqa: S104 nothing binds to it
    "private, 10": ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    "shared": ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    "loopback": ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    "Azure's host": ("168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"),
    "link-local": ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    "private, 172": ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    "protocol assignments": ("192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
    "documentation, 1": ("192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
    "6to4 relays": ("192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"),
    "private, 192": ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    "benchmarking": ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    "documentation, 2": ("198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
    "documentation, 3": ("203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
    "multicast and reserved": ("224.0.0.0", "255.255.255.255", "223.255.255.255", None),
}

PUBLIC_6 = (
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2620:4f:8000::1",
    "2a00:1450:4001:82a::200e",
    "2606:4700:4700::1111%eth0",
    "3fff:1000::1",
    # IPv4 ones in other clothes
    "::ffff:8.8.8.8",
    "::ffff:808:808",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "2606:4700::5efe:808:808",
)

NOT_PUBLIC_6 = {
    "unspecified": ("::", "0:0:0:0:0:0:0:0"),
    "loopback": ("::1", "::1%lo"),
    "IPv4-mapped": (
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:10.1.2.3",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "::ffff:192.168.1.1%eth0",
        "::FFFF:127.0.0.1",
    ),
    "IPv4-compatible": ("::127.0.0.1", "::10.0.0.1", "::8.8.8.8"),
    "IPv4-translated": ("::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"),
    "NAT64": ("64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::169.254.169.254", "64:ff9b::ffff:ffff"),
    "NAT64, a network's own": (
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1:7f00:0:100::",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        "64:ff9b:1::8.8.8.8",
    ),
    "between the two": ("64:ff9b:0:0:0:1:808:808", "64:ff9b:2::1", "64:ff9a::8.8.8.8"),
    "discard": ("100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::1"),
    "6to4": ("2002:7f00:1::1", "2002:a00:1::", "2002:c0a8:101::1", "2002:a9fe:a9fe::", "2002::", "2002:e000:1::1"),
    "Teredo": ("2001::1", "2001:0:808:808:0:0:f5ff:fffe", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    "protocol assignments": ("2001:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1"),
    "ISATAP": ("2606:4700::5efe:7f00:1", "2606:4700::200:5efe:10.0.0.1", "2606:4700::5efe:169.254.169.254"),
    "documentation": ("2001:db8::1", "2001:db8:ffff:ffff::1", "3fff::1", "3fff:fff:ffff::1"),
    "unique local": ("fc00::", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fdff:ffff::1"),
    "link-local": ("fe80::", "fe80::1", "fe80::1%eth0", "fe80::1%2", "febf:ffff::1"),
    "site-local": ("fec0::1", "feff:ffff::1"),
    "multicast": ("ff00::", "ff02::1", "ff02::1%eth0", "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "segment routing": ("5f00::1",),
    "never handed out": ("4000::1", "1fff::1", "8000::1", "e000::1"),
}


@pytest.mark.parametrize("address", PUBLIC_4 + PUBLIC_6)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("network", EDGES_4)
def test_networks_begin_and_end_where_the_registry_says(network: str) -> None:
    first, last, before, after = EDGES_4[network]
    assert not is_public(first)
    assert not is_public(last)
    for neighbour in (before, after):
        assert neighbour is None or is_public(neighbour)


@pytest.mark.parametrize(("kind", "address"), [(kind, one) for kind, them in NOT_PUBLIC_6.items() for one in them])
def test_no_other_ipv6_address_is_public(kind: str, address: str) -> None:
    assert not is_public(address), kind


@pytest.mark.parametrize("address", ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192"])
def test_where_clouds_hand_out_credentials_nobody_is_let_in(address: str) -> None:
    assert not is_public(address)
    assert not is_public(f"::ffff:{address}")


NO_ADDRESSES = (
    *("", " ", "localhost", "example.org", "/run/socket", "\0", "८.८.८.८"),
    *("127.1", "0x7f000001", "2130706433", "010.8.8.8", "8.8.8", "8.8.8.8.8", "8.8.8.256", "8.8.8.8 ", "8.8.8.8:80"),
    *("[2606:4700::1]", "2606:4700::1::"),
)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@given(st.ip_addresses(v=4))
def test_every_notation_of_an_ipv4_address_in_ipv6_counts_as_it_does(address: IPv4Address) -> None:
    number = int(address)
    embedded = (
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0x0064_FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
        IPv6Address(int(IPv6Address("2606:4700::5efe:0:0")) | number),
    )
    assert {is_public(str(one)) for one in embedded} == {is_public(str(address))}
    assert {is_public(one.exploded.upper()) for one in embedded} == {is_public(str(address))}
    assert not is_public(str(IPv6Address(number)))


@given(st.ip_addresses())
def test_whatever_python_calls_private_or_special_is_not_public(address: IPv4Address | IPv6Address) -> None:
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )
    # Python judges some of those that carry an IPv4 address by the rest of it.
    carries = isinstance(address, IPv6Address) and address in IPv6Network("64:ff9b::/96")
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    if special and not carries and not mapped:
        assert not is_public(str(address))


@given(st.ip_addresses(v=6), st.sampled_from(["eth0", "1", "lo"]))
def test_a_scope_changes_nothing(address: IPv6Address, scope: str) -> None:
    assert is_public(f"{address}%{scope}") == is_public(str(address))


@given(st.ip_addresses())
def test_the_systems_notation_is_understood(address: IPv4Address | IPv6Address) -> None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    written = socket.inet_ntop(family, address.packed)
    assert ip_address(written) == address
    assert is_public(written) == is_public(str(address))


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    assert is_public(text) in (False, True)
