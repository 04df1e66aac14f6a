"""What one entry of a list asks for: text with aria2's options, or JSON.

A `Draft` is filled field by field, so that what is known of an entry before it turns out to be unusable comes
back with the failure. Messages quote keys at most, never values, which may hold credentials.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader import urls
from downloader.errors import InputError
from downloader.grammar import TOKEN
from downloader.text import SPACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn

    from downloader.items import Address, Checksum

LONGEST = 32 << 10
"""Characters of a URL or a name at most: servers take a quarter of that, file systems an eighth."""
MOST = 1000
"""Addresses, or header fields, of one item at most."""
MOST_VALUES = 10_000
"""Values in one JSON object at most, so that reading it is a matter of milliseconds."""

_URL_INSIDE = re.compile(r"https?://", re.IGNORECASE | re.ASCII)
_URL_BEHIND = re.compile(r"\S\s+https?://", re.IGNORECASE | re.ASCII)
_SECOND_URL = "there is a second URL after a blank: give each its own line, or a tab between mirrors"
_TOO_LONG = f"the URL is longer than {LONGEST:,} characters"
_FORBIDDEN_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_BLANKS = " \t\n\r\v\f"  # what bytes.strip() takes off; other white space may belong to a URL
_MAX_DEPTH = 50
_KEYS = frozenset(("url", "name", "checksum", "headers", "referer", "user_agent", "user-agent"))


@dataclass(slots=True)
class Draft:
    """What is known of an item while its entry is read; fields as in `items.Item`."""

    address: Address | None = None
    mirrors: tuple[Address, ...] = ()
    name: str | None = None
    checksum: Checksum | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    referer: str | None = None
    user_agent: str | None = None
    extra: Mapping[str, object] | None = None

    def set_urls(self, texts: Sequence[str]) -> None:
        """Take the URL and its mirrors, and the checksum in their fragments."""
        if len(texts) > MOST:
            raise InputError(f"there are more than {MOST:,} addresses for one file")
        if any(len(text) > LONGEST for text in texts):
            raise InputError(_TOO_LONG)
        if any(_URL_BEHIND.search(text) for text in texts):
            raise InputError(_SECOND_URL)
        self.address = urls.parse(texts[0])
        self.mirrors = tuple(urls.parse(text) for text in texts[1:])
        for text in texts:
            if "#" in text and (found := urls.fragment_checksum(text)):
                self.set_checksum(found)

    def set_checksum(self, checksum: Checksum) -> None:
        """Take a checksum; a second one must say the same."""
        if self.checksum not in (None, checksum):
            raise InputError("there are two different checksums: keep the right one")
        self.checksum = checksum

    def set_name(self, name: str) -> None:
        """Take a name, once."""
        if len(name) > LONGEST:
            raise InputError("the name is too long for a path")
        if _URL_INSIDE.search(name):
            raise InputError(_SECOND_URL)
        if self.name is not None:
            raise InputError("there are two names: a line is a URL, then at most one name")
        self.name = name if name.strip(SPACES) else None

    def add_header(self, name: str, value: str) -> None:
        """Take a request header (RFC 9110 section 5)."""
        if not TOKEN.fullmatch(name):
            raise InputError("the name of a header is not valid: a header is Name: value")
        if len(self.headers) >= MOST:
            raise InputError(f"there are more than {MOST:,} headers")
        self.headers.append((name, _field_value(value, "the value of a header")))

    def set_referer(self, text: str) -> None:
        """Take a referer, less credentials and fragment (RFC 9110 section 10.1.3); ``*`` stands for the URL."""
        text = _field_value(text, "referer")
        if len(text) > LONGEST:
            raise InputError("referer is longer than any URL")
        if text == "*" and self.address is not None:
            self.referer = self.address.url
            return
        try:
            self.referer = urls.parse(text).url
        except InputError:
            if "@" in text:
                raise InputError("referer is no http or https URL, and its @ may follow a password") from None
            self.referer = text or None

    def set_user_agent(self, text: str) -> None:
        """Take a user agent."""
        self.user_agent = _field_value(text, "user-agent") or None


def _field_value(text: str, what: str) -> str:
    text = text.strip(_BLANKS)
    if _FORBIDDEN_IN_VALUES.search(text):
        raise InputError(f"{what} holds a control character or a line break")
    return text


def read_text(draft: Draft, line: str, options: Iterable[str], warn: Callable[[str], None]) -> None:
    """Read ``URL``, ``URL NAME`` or fields between tabs, and aria2's options for it.

    ``warn`` is called with the key of each option that is not supported. Raises `InputError`.
    """
    texts: list[str] = []
    for part in line.strip(_BLANKS).split("\t", 2 * MOST):
        text = part.strip(_BLANKS)
        if not texts or urls.is_url(text):
            url, _, text = text.partition(" ")
            texts.append(url)
        if text := text.strip(_BLANKS):
            draft.set_name(text)
    draft.set_urls(texts)
    folder = ""
    out = ""
    for option in options:
        key, _, value = option.partition("=")
        key, value = key.strip(_BLANKS).lower(), value.strip(_BLANKS)
        if key == "dir":
            folder = value
        elif key == "out":
            out = value
        else:
            _read_option(draft, key, value, warn)
    if out:
        draft.set_name(out)
    if folder:
        # A name that ends in a slash is a folder for the name chosen otherwise.
        name, draft.name = draft.name or "", None
        draft.set_name(posixpath.join(folder, name))


def _read_option(draft: Draft, key: str, value: str, warn: Callable[[str], None]) -> None:
    if key == "checksum":
        draft.set_checksum(urls.checksum(value))
    elif key == "header":
        name, _, value = value.partition(":")
        draft.add_header(name.strip(_BLANKS), value)
    elif key == "referer":
        draft.set_referer(value)
    elif key == "user-agent":
        draft.set_user_agent(value)
    else:
        warn(key)


def read_json(draft: Draft, text: str) -> None:
    """Read one JSON object (RFC 8259) with the keys of `read_mapping`. Raises `InputError`."""
    if _separators(text) > MOST_VALUES and _separators(_outside_strings(text)) > MOST_VALUES:
        raise InputError(f"a JSON object with more than {MOST_VALUES:,} values is not read")
    try:
        value = json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError("a JSON text has half of a surrogate pair: that is no character") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"not valid JSON: {error.msg} at column {error.colno}; write one object on each line"
        ) from None
    except (ValueError, RecursionError):
        raise InputError("not usable JSON: a number is NaN, infinite or too large, or it is nested too deep") from None
    if text.count("[") + text.count("{") > _MAX_DEPTH and _depth(value) > _MAX_DEPTH:
        raise InputError(f"JSON nested deeper than {_MAX_DEPTH} levels is not read")
    read_mapping(draft, value)


def _separators(text: str) -> int:
    """Count what values of JSON stand behind."""
    return text.count(",") + text.count("[") + text.count("{")


def _outside_strings(text: str) -> str:
    """Return JSON without what stands between quotation marks."""
    return "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])


def _refuse_number(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def _depth(value: object) -> int:
    """Count the levels of nesting without recursion."""
    depth = 0
    level = [value]
    while level:
        depth += 1
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(one.values())
            elif isinstance(one, list):
                inner.extend(one)
        level = inner
    return depth


def read_mapping(draft: Draft, value: Mapping[str, object]) -> None:
    """Read what a JSON object, or a program's mapping, says of an item.

    Its keys are ``url`` (text, or a list of mirrors), ``name``, ``checksum``, ``headers``, ``referer`` and
    ``user_agent`` or ``user-agent``; others become ``extra``, and None is as good as absent. Raises `InputError`.
    """
    draft.extra = {key: value[key] for key in value if key not in _KEYS} or None
    if not all(isinstance(key, str) for key in value):
        raise InputError("every key must be text")
    url = value.get("url")
    if url is None:
        raise InputError('the key "url" is missing')
    texts = list(url) if isinstance(url, list | tuple) else [url]
    if not texts:
        raise InputError('"url" is an empty list')
    draft.set_urls([_text(text, "url") for text in texts])
    if (name := value.get("name")) is not None:
        draft.set_name(_text(name, "name").strip(_BLANKS))
    if (checksum := value.get("checksum")) is not None:
        draft.set_checksum(urls.checksum(_text(checksum, "checksum")))
    if (headers := value.get("headers")) is not None:
        if not isinstance(headers, Mapping):
            raise InputError(f'"headers" must be an object of names and values, not {_type(headers)}')
        for key, text in headers.items():
            draft.add_header(_text(key, "headers"), _text(text, "headers"))
    if (referer := value.get("referer")) is not None:
        draft.set_referer(_text(referer, "referer"))
    for key in ("user-agent", "user_agent"):
        if (agent := value.get(key)) is not None:
            draft.set_user_agent(_text(agent, key))


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise InputError(f'"{key}" must be text, not {_type(value)}')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f'"{key}" is not valid Unicode: write it in UTF-8') from None
    return value


def _type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    return type(value).__name__
