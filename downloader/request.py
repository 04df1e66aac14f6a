"""One GET as plain data, and which headers and credentials may go to which host. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader import urls
from downloader.errors import RedirectError

if TYPE_CHECKING:
    from downloader.cookies import CookieFile
    from downloader.items import Address, Item
    from downloader.options import Options
    from downloader.resume import Ask

_HARMLESS = frozenset({"accept", "accept-language", "dnt", "user-agent", "referer"})
"""Headers that may follow a redirect to another host; any other might be a credential."""


@dataclass(slots=True)
class Request:
    """One GET, ready for the wire; redirects are not followed."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    user_agent: str | None = None
    referer: str | None = None
    cookie: str | None = field(default=None, repr=False)
    deadline: float | None = None
    """Seconds this exchange may take, None for any."""
    http1: bool = False
    """Whether it is to go over HTTP/1.1, whatever else the server may speak."""


def build(
    item: Item,
    address: Address,
    options: Options,
    *,
    cookies: CookieFile | None,
    deadline: float | None,
    ask: Ask | None = None,
) -> Request:
    """Return the request for ``item`` at ``address``: its own, a mirror's or one it was redirected to.

    The item's headers win over the options'. On another host than the item's own only harmless headers are sent;
    credentials are those of ``address``, and cookies those the cookie file has for it (RFC 6265 section 5.4).
    ``ask`` is the range to ask for, None for all of the file.
    """
    headers = _merged(item, options) if item.headers or options.headers else ()
    if address is not item.address and headers and not trusted(item.url, address.url):
        headers = tuple((name, value) for name, value in headers if name.lower() in _HARMLESS)
    username, password = address.username, address.password
    if username is None and address is not item.address and trusted(item.url, address.url):
        username, password = item.address.username, item.address.password
    if ask is not None:
        others = [(name, value) for name, value in headers if name.lower() not in ("range", "if-range")]
        headers = (*others, *ask.headers)
    return Request(
        url=address.url,
        headers=headers,
        username=username,
        password=password,
        user_agent=item.user_agent or options.user_agent,
        referer=item.referer or options.referer,
        cookie=cookies.header(address.url) if cookies is not None else None,
        deadline=deadline,
    )


def follow(current: Address, location: str, *, insecure: bool) -> Address:
    """Return where a redirect leads (RFC 9110 section 10.2.2).

    Raises `errors.RedirectError` from https to http unless ``insecure``, to another scheme than these, and for a
    Location that is no URL.
    """
    target = urls.join(current.url, location)
    if current.url.startswith("https:") and target.url.startswith("http:") and not insecure:
        raise RedirectError(f"the server redirects from https to {target.url}; --insecure would allow it")
    return target


def trusted(own: str, other: str) -> bool:
    """Whether ``other`` is the same host as ``own`` for credentials: same origin, or its upgrade to https."""
    if urls.host_key(own) == urls.host_key(other):
        return True
    first, second = urlsplit(own), urlsplit(other)
    return (
        first.hostname == second.hostname
        and (first.scheme, first.port or 80) == ("http", 80)
        and (second.scheme, second.port or 443) == ("https", 443)
    )


def _merged(item: Item, options: Options) -> tuple[tuple[str, str], ...]:
    own = {name.lower() for name, _ in item.headers}
    if item.user_agent is not None:
        own.add("user-agent")
    if item.referer is not None:
        own.add("referer")
    return (*((name, value) for name, value in options.headers if name.lower() not in own), *item.headers)
