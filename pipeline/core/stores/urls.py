"""Addresses of stores, which may hold passwords: shown masked, whoever shows them.

What stands in such an address is known from here on in this process, so that `hide` finds it in any text: a database
driver's message, a traceback, a line on its way to the terminal.
"""

import re
from collections.abc import Iterator
from typing import Self
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
# Names of query parameters whose values are nobody's business.
# Not every name that ends in key: the links to MLflow's prepared views have a viewStateShareKey.
_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|(?:(?<![a-z])|api|access|private|account)key|cred|auth|sig", re.IGNORECASE
)
_SECRET_SETTING = re.compile(rf"(?:{_SECRET_NAME.pattern})\w*\s*[=:]", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`]+")
# A secret that is shorter may be a part of any word, and is looked for as a word of its own.
_DISTINCT = 4

_secrets: set[str] = set()  # of every address that this process has seen


class StoreUrl(str):
    """An address as text with its secrets masked; `reveal` has them.

    As it is the masked text, there is no way to print, format or serialize it by accident. Two addresses that differ
    in a secret only are equal.

    Args:
        address: The address with its secrets, such as ``postgresql+psycopg://me:secret@host/studies``.
    """

    __slots__ = ("_address",)
    _address: str

    def __new__(cls, address: str) -> Self:
        if isinstance(address, StoreUrl):
            address = address._address
        made = super().__new__(cls, mask(address))
        made._address = address
        for start, end in _spans(address):
            _secrets.update(_spellings(address[start:end]))
        return made

    @property
    def has_secret(self) -> bool:
        """Whether it shows less than it holds."""
        return str(self) != self._address

    def reveal(self) -> str:
        """Returns the address with its secrets. For the call that opens a connection, or a child's environment."""
        return self._address

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self._address,)


def mask(address: str) -> str:
    """Returns an address with passwords and tokens replaced by `MASK`, whether it is well formed or not."""
    shown, at = "", 0
    for start, end in _spans(address):
        shown, at = f"{shown}{address[at:start]}{MASK}", end
    return shown + address[at:]


def hide(text: str) -> str:
    """Returns a text without the secrets of any address that this process has seen, and with other addresses masked."""
    text = _URL.sub(lambda found: mask(found.group()), text)
    for secret in sorted(_secrets, key=len, reverse=True):
        if len(secret) >= _DISTINCT:
            text = text.replace(secret, MASK)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def _spans(address: str) -> Iterator[tuple[int, int]]:
    """Returns from where to where secrets stand, in their order; generous where an address is not well formed.

    A password ends at the first @ for SQLAlchemy, whatever is before it, and at the last one of the host's part for
    RFC 3986.
    """
    scheme = re.match(r"[^:/?#@]*:?/{1,2}", address)
    begin = 0 if scheme is None else scheme.end()
    user = re.compile(r"[^:/?#@]*").match(address, begin)
    assert user is not None
    host = re.compile(r"[^/?#]*").match(address, begin)
    assert host is not None
    at = max(address.find("@", begin), host.group().rfind("@") + begin if "@" in host.group() else -1)
    after = begin
    if at >= 0 and address[user.end() : user.end() + 1] == ":":
        if user.end() + 1 < at:
            yield user.end() + 1, at
        after = at
    elif at == user.end() > begin and address.startswith("http"):  # a token in the user's place
        yield begin, at
        after = at
    for setting in re.compile(r"(?<=[?&#])([^=&#?]*)=([^&]*)").finditer(address, after):
        name, value = unquote_plus(setting.group(1)), unquote_plus(setting.group(2))
        if value and (_SECRET_NAME.search(name) or _SECRET_SETTING.search(value)):
            yield setting.span(2)


def _spellings(secret: str) -> Iterator[str]:
    """Returns how a secret may be written in messages and in other addresses."""
    for plain in (secret, unquote(secret), unquote_plus(secret)):
        yield plain
        yield quote(plain, safe="")
        yield quote(plain, safe=" +")  # as SQLAlchemy does
        yield quote_plus(plain)
