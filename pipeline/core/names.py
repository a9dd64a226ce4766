"""Names of studies, experiments, registered models, schedules and exports: each is also a folder's or a file's."""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import AfterValidator

from pipeline.core.errors import InvalidNameError

MAX_CHARACTERS = 100
# File systems count bytes (255), and a name gets endings such as .json.12345.partial.
MAX_BYTES = 200
# So many first characters of a derived name are always those of the text that it stands for.
KEPT_CHARACTERS = 40
_DIGEST = 8
# Separators, and what Windows does not take in a file's name.
_RESERVED_CHARACTERS = re.compile(r'[<>:"/\\|?*]')
# Windows takes these for devices, whatever follows a dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL)
# What stands for itself in an address such as models:/NAME@champion, and what Airflow takes.
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")


def broken_rule(text: str) -> str | None:
    """Returns the rule of names that a text breaks, or None if it is a name.

    A name can be a folder's on every system, is no option of a command, and leads nowhere else.
    """
    if not text:
        return "must not be empty"
    if not (text[0].isalnum() or text[0] == "_"):
        return "must begin with a letter, a digit or an underscore"
    if not text.isprintable() or _RESERVED_CHARACTERS.search(text):
        return 'must not have any of / \\ : * ? " < > | nor characters that cannot be seen'
    if text[-1] in ". ":
        return "must not end with a dot or a space"
    if len(text) > MAX_CHARACTERS or len(text.encode()) > MAX_BYTES:
        return f"must have at most {MAX_CHARACTERS} characters, and {MAX_BYTES} bytes"
    if _DEVICES.fullmatch(text):
        return "must not be one that Windows keeps for a device, such as nul or com1"
    return None


def broken_plain_rule(text: str) -> str | None:
    """Returns the rule that a text breaks as the name of a registered model or a schedule.

    These stand in addresses and are the ids of Airflow's DAGs, too.
    """
    if (rule := broken_rule(text)) is not None or _PLAIN.fullmatch(text):
        return rule
    return "must have letters of ASCII, digits, '.', '_' and '-' only"


def check_name(text: str, what: str, rule_of: Callable[[str], str | None] = broken_rule) -> str:
    """Returns a name.

    Args:
        text: What should be one.
        what: What it names, for the message, such as ``a study``.
        rule_of: Says what is wrong with it.

    Raises:
        InvalidNameError: It breaks a rule; says which.
    """
    if (rule := rule_of(text)) is not None:
        shown = repr(text if len(text) <= 2 * KEPT_CHARACTERS else f"{text[:KEPT_CHARACTERS]}...")
        raise InvalidNameError(f"the name of {what} {rule}; got {shown}. Give another one")
    return text


def fitting(text: str) -> str:
    """Returns a text that is made of names, or, where that is too long for a name, its beginning and a digest of it."""
    if len(text) <= MAX_CHARACTERS and len(text.encode(errors="replace")) <= MAX_BYTES:
        return text
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:_DIGEST]
    most = MAX_BYTES - 1 - _DIGEST
    kept = text[: MAX_CHARACTERS - 1 - _DIGEST].encode(errors="replace")[:most].decode(errors="ignore")
    return f"{kept}-{digest}"


def numbered(text: str) -> Iterator[str]:
    """Yields names without end: text, text-2, text-3 and so on, each made to fit."""
    yield fitting(text)
    number = 2
    while True:
        yield fitting(f"{text}-{number}")
        number += 1


def _refusing(rule_of: Callable[[str], str | None]) -> AfterValidator:
    def validate(text: str) -> str:
        if (rule := rule_of(text)) is not None:
            raise ValueError(rule)
        return text

    return AfterValidator(validate)


# For fields of the schema.
Name = Annotated[str, _refusing(broken_rule)]
PlainName = Annotated[str, _refusing(broken_plain_rule)]
