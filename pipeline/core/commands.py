"""Commands that are printed to be typed: quoted for a shell, and nothing in them that a terminal would obey."""

import shlex
from collections.abc import Iterator

from pipeline.core.printing import one_line


def command(name: str, /, *arguments: object, **options: object) -> str:
    """Writes a call of dnntune that a shell runs as it stands.

    Args:
        name: The command, such as run.
        arguments: What follows it.
        options: Named as on the command line, an underscore for a dash. None and False leave one out, True is a flag's,
            and a list repeats it.
    """
    words = [str(argument) for argument in arguments]
    named = [word for option, value in options.items() for word in _option(option.replace("_", "-"), value)]
    if any(word.startswith("-") and word != "-" for word in words):
        return join(["dnntune", name, *named, "--", *words])
    return join(["dnntune", name, *words, *named])


def join(words: list[str]) -> str:
    """Returns a shell's command line, as `shlex.join`, on one line and of visible characters."""
    return " ".join(map(quote, words))


def quote(word: str) -> str:
    """Returns a word as a shell reads it; one with control characters as bash's and zsh's ``$'...'``."""
    if one_line(word) == word:
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(map(_escaped, escaped)) + "'"


def _escaped(character: str) -> str:
    if one_line(character) == character:
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a file's name that is no text
        return f"\\x{ord(character) - 0xDC00:02x}"
    return f"\\u{ord(character):04x}" if ord(character) >= 0x80 else f"\\x{ord(character):02x}"


def _option(name: str, value: object) -> Iterator[str]:
    if value is None or value is False:
        return
    if value is True:
        yield f"--{name}"
        return
    for each in value if isinstance(value, list | tuple) else [value]:
        text = str(each)
        if text.startswith("-"):
            yield f"--{name}={text}"
        else:
            yield from (f"--{name}", text)
