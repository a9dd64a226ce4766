"""Text that comes from outside, decoded; long text, shortened for messages; and rows as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any


class UnreadableError(Exception):
    """What was read is no text; the message says why, and what to do where that is not plain."""


def text_of(data: bytes, limit: int) -> str:
    """Decodes UTF-8, with or without a mark of byte order.

    Raises:
        UnreadableError: There are more bytes than ``limit``, or they are not UTF-8.
    """
    if len(data) > limit:
        raise UnreadableError(f"it is larger than {limit:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"it is not UTF-8 text (byte {error.start + 1})") from None


def shortened(text: str, limit: int) -> str:
    """Returns a text of at most ``limit`` characters: what is longer loses its middle."""
    if len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows of plain values, all with the same columns, as CSV (RFC 4180, but lines end with a line feed).

    The first line names the columns; None is an empty cell.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    if rows:
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue()
