"""Which IP addresses are public: reachable from anywhere, and so no way into the network gdl runs in. Pure.

The tables follow IANA's special-purpose address registries (RFC 6890) and not `ipaddress`'s ``is_global``, whose
answers differ between releases of Python. Where a registry leaves room, the answer is no.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_SPECIAL_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network (RFC 791); Linux takes 0.0.0.0 for itself
            "10.0.0.0/8",  # private (RFC 1918)
            "100.64.0.0/10",  # shared, behind a provider's NAT (RFC 6598)
            "127.0.0.0/8",  # loopback (RFC 1122)
            "168.63.129.16/32",  # looks public, but is the host of a virtual machine in Azure
            "169.254.0.0/16",  # link-local (RFC 3927), where clouds answer with a machine's credentials
            "172.16.0.0/12",  # private (RFC 1918)
            "192.0.0.0/24",  # protocol assignments (RFC 6890)
            "192.0.2.0/24",  # documentation (RFC 5737)
            "192.88.99.0/24",  # 6to4 relays, deprecated (RFC 7526)
            "192.168.0.0/16",  # private (RFC 1918)
            "198.18.0.0/15",  # benchmarking (RFC 2544)
            "198.51.100.0/24",  # documentation (RFC 5737)
            "203.0.113.0/24",  # documentation (RFC 5737)
            "224.0.0.0/4",  # multicast (RFC 5771)
            "240.0.0.0/4",  # reserved (RFC 1112), broadcast at its end
        ),
    )
)

_GLOBAL_6 = IPv6Network("2000::/3")
"""All that is handed out for use in the Internet (RFC 4291 section 2.4); the rest is local, multicast or reserved."""
_SPECIAL_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments (RFC 2928): Teredo, benchmarking, ORCHID
            "2001:db8::/32",  # documentation (RFC 3849)
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_ISATAP = 0x0000_5EFE
_ISATAP_MASK = 0xFDFF_FFFF  # all but the bit that tells a globally unique identifier


def is_public(text_address: str) -> bool:
    """Whether an address in its usual notation, as ``inet_ntop`` writes it, is public.

    IPv6 addresses that stand for an IPv4 one count as that one: IPv4-mapped (RFC 4291 section 2.5.5.2), NAT64
    (RFC 6052), 6to4 (RFC 3056) and ISATAP (RFC 5214). The prefix for a network's own NAT64 (RFC 8215) is not
    public, for it does not tell where in the address the IPv4 one is. A scope (``%eth0``) changes nothing; what is
    no address is not public.
    """
    try:
        address = ip_address(text_address)
    except ValueError:
        return False
    return _public_4(address) if isinstance(address, IPv4Address) else _public_6(address)


def _public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _SPECIAL_4)


def _public_6(address: IPv6Address) -> bool:
    number = int(address)
    address = IPv6Address(number)  # without its scope, which no network contains
    if address in _MAPPED or address in _NAT64:
        return _public_4(IPv4Address(number & 0xFFFF_FFFF))
    if address not in _GLOBAL_6 or any(address in network for network in _SPECIAL_6):
        return False
    if address in _6TO4 and not _public_4(IPv4Address(number >> 80 & 0xFFFF_FFFF)):
        return False
    isatap = number >> 32 & _ISATAP_MASK == _ISATAP
    return not isatap or _public_4(IPv4Address(number & 0xFFFF_FFFF))
