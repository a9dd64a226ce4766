"""What pydantic says of a value that it refuses, in a message's words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails, ValidationError


def broken_rule(error: "ValidationError") -> tuple[str, str, "ErrorDetails"]:
    """Returns the path of the first value that was refused ("" for the whole), its rule, and pydantic's details."""
    first = error.errors(include_url=False)[0]
    rule = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return ".".join(map(str, first["loc"])), rule, first
