"""URLs: made ready for the wire, resolved against each other, and shown without their credentials.

Pure functions of text. Lists of millions pass through `parse`, so a URL that needs nothing done to it is
recognised by one regular expression and kept as it is; everything else takes the slow way round.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, cast
from urllib.parse import unquote, urljoin

from downloader.errors import InputError, RedirectError
from downloader.grammar import BLANKS
from downloader.items import Address, Checksum
from downloader.text import escaped

_READY = re.compile(
    r"https?://(?![^/:]{254})"
    r"[a-z0-9_-]{1,63}+(?:\.[a-z0-9_-]{1,63}+)*+"
    r"(?::(?!80/|443/)(?:[1-5][0-9]{4}|6[0-4][0-9]{3}|[1-9][0-9]{0,3}))?+"
    r"/[!$&-;=?-\[\]_a-z~]*+(?:%[0-9A-Fa-f]{2}[!$&-;=?-\[\]_a-z~]*+)*+"
)
"""A URL that `parse` would give back unchanged."""

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_BARE_SCHEMES = frozenset(("about", "blob", "data", "file", "ftp", "javascript", "magnet", "mailto", "urn"))
_AUTHORITY = re.compile(r"[^/?#]*")
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSAFE = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^!$%&-;=?-\[\]_a-z~]")
_ORIGIN = re.compile(r"(https?)://(?:[^/?#]*@)?(\[[^\]]*\]|[^/?#:]*)(?::([0-9]+))?", re.IGNORECASE | re.ASCII)
_PLAIN_ORIGIN = re.compile(r"(https?)://[a-z0-9._-]++(:[0-9]++)?+(?=/)")
"""The origin of nearly every URL that `parse` made: `host_key` has at most a port to add."""
_BAD_AUTHORITY = (
    "the host or port is not valid: a port is a number from 1 to 65535,"
    " and a password's : / ? # @ are written %3A %2F %3F %23 %40"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_DIGEST_SIZES = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_CHECKSUM = re.compile(r"[ \t\r\n]*+([A-Za-z0-9-]*+)[ \t\r\n]*+[:=](.*)", re.DOTALL)
_HEX = re.compile(r"[0-9a-f]+")

_USERINFO = re.compile(
    r"((?::|(?<![^\"'(<=]))//)"
    r"(?:[^/?#]*@"  # the authority as RFC 3986 section 3.2 ends it
    r"|(?!\[)[^/?#@:]*:(?![0-9]{1,5}(?:[/?#]|$)).*@)",  # a password that holds / ? or # unescaped
    re.DOTALL,
)
_SHOWN = 200


def is_url(text: str) -> bool:
    """Tell whether ``text`` begins like a URL, of whatever scheme, rather than being a name."""
    return _ABSOLUTE.match(text) is not None


def parse(text: str) -> Address:
    """Make a URL as people write it ready for the wire (RFC 3986, IDNA by UTS #46).

    The host becomes lower case and A-labels and a default port goes. Characters that a URL cannot hold are
    percent-encoded as UTF-8; escapes stay as they are. User information is split off, the fragment dropped.
    Raises `InputError`, whose message holds no part of the URL but a scheme.
    """
    if _READY.fullmatch(text):
        return Address(text)
    text = text.strip(BLANKS)
    scheme, rest = _split_scheme(text)
    if _CONTROL.search(rest):
        raise InputError("the URL holds a control character or a line break")
    try:
        rest.encode()
    except UnicodeEncodeError:
        raise InputError("the URL is not valid Unicode: write it in UTF-8") from None
    authority = cast("re.Match[str]", _AUTHORITY.match(rest))[0]
    path = rest[len(authority) :]
    if "\\" in authority:  # a slash to browsers, a letter to RFC 3986: they would ask different hosts
        raise InputError("the URL holds a backslash before its path: write / or, in a password, %5C")
    if authority.endswith(":") and "@" in path:  # USER:/PASSWORD@HOST, not a host with an empty port
        raise InputError(_BAD_AUTHORITY)
    path = path.partition("#")[0]
    if not path.startswith("/"):
        path = "/" + path
    userinfo, _, host_and_port = authority.rpartition("@")
    username, password = _credentials(userinfo)
    return Address(f"{scheme}://{_host_and_port(scheme, host_and_port)}{_escape(path)}", username, password)


def _split_scheme(text: str) -> tuple[str, str]:
    """Split off the scheme, in lower case, from what follows its ``//``."""
    match = _SCHEME.match(text)
    scheme, slashes = (match[1].lower(), match[2] or "") if match else ("", "")
    if match and scheme in _DEFAULT_PORTS:
        if not slashes:
            raise InputError(f"two slashes are missing: a URL begins with {scheme}://")
        return scheme, text[match.end() :]
    if slashes or scheme in _BARE_SCHEMES:
        raise InputError(f"{scheme[:20]}:{slashes} is not supported: gdl downloads http and https URLs")
    # Nothing is quoted: in USER:PASSWORD@HOST the part before the colon only looks like a scheme.
    raise InputError("this is no URL: it must begin with http:// or https://" if text else "the URL is empty")


def _credentials(userinfo: str) -> tuple[str | None, str | None]:
    """Username and password from user information (RFC 3986 section 3.2.1), percent-decoded."""
    if not userinfo:
        return None, None
    username, colon, password = userinfo.partition(":")
    try:
        username, password = unquote(username, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise InputError("the user name or password in the URL is not UTF-8") from None
    if _CONTROL.search(username + password):
        raise InputError("the user name or password in the URL holds a control character")
    return username, password if colon else None


def _host_and_port(scheme: str, text: str) -> str:
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise InputError(_BAD_AUTHORITY)
    host, port = match[1], (match[2] or "").lstrip("0")
    if match[2] and not (0 < len(port) <= 5 and int(port) <= 65535):
        raise InputError("the port is not valid: it is a number from 1 to 65535")
    name = _ipv6(host) if host.startswith("[") else _host_name(host)
    return f"{name}:{port}" if port and port != _DEFAULT_PORTS[scheme] else name


@lru_cache(maxsize=1024)
def _host_name(text: str) -> str:
    """Bring a host name to lower case and A-labels (RFC 5890), mapped as UTS #46 says."""
    if not text:
        raise InputError("the URL has no host name")
    try:
        host = unquote(text, errors="strict") if "%" in text else text
        if not host.isascii() and len(host) <= 253:
            import idna  # takes 4 ms, and most lists need none of it

            mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
            host = ".".join(_a_label(label) for label in mapped.split("."))
    except UnicodeError:  # idna's errors are of this class
        raise InputError("the host name cannot be used: it is no valid international name") from None
    host = host.lower()
    if not _HOST.fullmatch(host) or len(host.rstrip(".")) > 253:
        raise InputError(
            "the host name cannot be used: its parts are letters, digits, hyphens and underscores,"
            " at most 63 each and 253 in all"
        )
    return host


def _a_label(label: str) -> str:
    """One part of a host name in ASCII; names that browsers take although IDNA 2008 does not are kept."""
    if label.isascii():
        return label  # real hosts have underscores, which idna refuses
    import idna

    try:
        return idna.alabel(label).decode()
    except idna.IDNAError:
        return "xn--" + label.encode("punycode").decode()


def _ipv6(literal: str) -> str:
    """Shorten an IPv6 literal; its zone (RFC 6874) is kept."""
    import ipaddress  # takes 1 ms, and most lists need none of it

    address, percent, zone = literal[1:-1].partition("%")
    if percent and len(zone) > 2:
        zone = zone.removeprefix("25")
    try:
        short = ipaddress.IPv6Address(address)
    except ValueError:
        raise InputError("the IPv6 address between [ and ] is not valid") from None
    if percent and not _ZONE.fullmatch(zone):
        raise InputError("the zone of the IPv6 address is not valid")
    return f"[{short}%25{zone}]" if percent else f"[{short}]"


def _escape(path: str) -> str:
    """Percent-encode what a path and query cannot hold; ``[`` and ``]`` stay, as browsers leave them."""
    return _UNSAFE.sub(lambda byte: b"%%%02X" % byte[0][0], path.encode()).decode("ascii")


def join(base: str, location: str) -> Address:
    """Resolve a redirect's ``location`` against ``base`` (RFC 3986 section 5, RFC 9110 section 10.2.2).

    ``location`` is the header's value decoded as ISO 8859-1, or as UTF-8 with ``surrogateescape``. Bytes
    outside ASCII are taken for UTF-8 if that is what they are; others go back, in a path, as they came. User
    information in it comes back in the address: whether to use it is not decided here. Raises `RedirectError`
    for a target that cannot be followed, naming it redacted.
    """
    text = location.strip(BLANKS)
    if not text:
        raise RedirectError("the server sent a redirect without a target")
    try:
        text = _header_text(text)
        if _CONTROL.search(text):  # urljoin would silently drop some of them
            raise InputError("it holds a control character")
        match = _SCHEME.match(text)
        return parse(text if match and match[2] else urljoin(base, text))
    except InputError as error:
        reason = str(error)
    except ValueError:  # of urljoin and the codecs; their messages quote the text
        reason = "it is not a valid URL"
    raise RedirectError(f"redirect to {shown(text)} refused: {reason}")


def _header_text(value: str) -> str:
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)


def host_key(url: str) -> str:
    """``scheme://host:port`` in lower case with the port always there: what limits per host are counted by.

    Raises `ValueError` when ``url`` is no http or https URL.
    """
    match = _PLAIN_ORIGIN.match(url)
    if match is not None:
        return match[0] if match[2] else f"{match[0]}:{_DEFAULT_PORTS[match[1]]}"
    match = _ORIGIN.match(url)
    if match is None:
        raise ValueError("not an http or https URL")
    scheme, host, port = match.groups()
    scheme = scheme.lower()
    return f"{scheme}://{host.lower()}:{port or _DEFAULT_PORTS[scheme]}"


def checksum(text: str) -> Checksum:
    """Read ``sha256:HEX``, or ``sha-256=HEX`` as aria2 writes it; md5, sha1, sha256 and sha512.

    Raises `InputError` when the algorithm is another, or the digest is not of its length.
    """
    match = _CHECKSUM.fullmatch(text)
    algorithm = match[1].lower().replace("-", "") if match else ""
    if match is None or algorithm not in _DIGEST_SIZES:
        raise InputError("the checksum cannot be used: write sha256:HEX, or md5, sha1 or sha512 in place of sha256")
    hexdigest = match[2].strip(BLANKS).lower()
    size = _DIGEST_SIZES[algorithm]
    if len(hexdigest) != size or not _HEX.fullmatch(hexdigest):
        raise InputError(f"the {algorithm} checksum is not valid: it must be {size} hexadecimal digits")
    return Checksum(cast("Literal['md5', 'sha1', 'sha256', 'sha512']", algorithm), hexdigest)


def fragment_checksum(text: str) -> Checksum | None:
    """Read the checksum in a URL's fragment, as in ``…/cat.jpg#sha256=HEX``; None for any other fragment.

    Raises `InputError` for a known algorithm with a digest that is not of its length.
    """
    for part in text.partition("#")[2].split("&"):
        match = _CHECKSUM.fullmatch(part)
        if match and match[1].lower().replace("-", "") in _DIGEST_SIZES:
            return checksum(part)
    return None


def redact(text: str) -> str:
    """Replace the user information of every URL in ``text`` by ``***``.

    A password with unescaped ``/``, ``?`` or ``#`` is recognised too, at the price that a path which looks
    like one may go with it.
    """
    if "@" not in text:
        return text
    return re.sub(r"\S+", _redact_word, text, flags=re.ASCII)  # a password may hold other white space


def _redact_word(match: re.Match[str]) -> str:
    # Up to the last @ only: behind it nothing can match, and the search would be quadratic.
    head, at, tail = match[0].rpartition("@")
    return _USERINFO.sub(r"\1***@", head + at) + tail


def shown(text: str) -> str:
    """Make ``text`` fit to be quoted: redacted, on one line, printable, about 200 characters at most."""
    text = redact(text)
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 1] + "…"
    return escaped(text)
