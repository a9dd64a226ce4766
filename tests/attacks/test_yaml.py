"""Files that are no space, or try to be more than one: what YAML can carry."""

import os
from pathlib import Path

import pytest

from tests.attacks.harness import Case, answered

BILLION = "\n".join(
    ["space:", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
)
DEEP_ALIASES = "\n".join(["space:", "  a0: &a0 [x]", *(f"  a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000))])
DIGITS = "data: {kind: digits}"
MANY_KEYS = "".join(f"  k{n}: 1\n" for n in range(5000))


def file(name: str, content: str | bytes, *said: str) -> Case:
    return Case(name, ("check", "bad.yaml"), said, {"bad.yaml": content})


def space(name: str, inner: str, *said: str) -> Case:
    return file(name, f"space:\n  {DIGITS}\n  {inner}\n", *said)


CASES = [
    # What is not text, or not YAML.
    file("empty", "", "bad.yaml", "must have a block named space; got None"),
    file("a word", "resnet", "must have a block named space; got 'resnet'"),
    file("a list", "- 1\n- 2\n", "must have a block named space"),
    file("two documents", "space: {}\n---\nspace: {}\n", "is not YAML"),
    file("UTF-16", "space: {}".encode("utf-16"), "bad.yaml: cannot be read: it is not UTF-8 text (byte 1)"),
    file("Latin-1", "space: {data: {kind: k\xf6ln}}".encode("latin-1"), "it is not UTF-8 text (byte 23)"),
    file("null byte", "space: {data: \0}\n", "is not YAML"),
    file("control character", "space: {data: \x1b[31m}\n", "is not YAML"),
    file("binary", bytes(range(256)), "not UTF-8"),
    file("a PNG", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "not UTF-8"),
    file("open bracket", "space: {data: {kind: digits}\n", "bad.yaml:", "is not YAML"),
    file("open quote", "space: {data: {kind: 'digits}}\n", "bad.yaml:", "is not YAML"),
    file("tabs", "space:\n\tdata: {kind: digits}\n", "bad.yaml:2", "is not YAML"),
    file("undefined alias", "space: *nothing\n", "bad.yaml:1", "undefined alias"),
    file("unknown directive", "%YAML 9.9\n---\nspace: {}\n", "bad.yaml:1", "is not YAML"),
    file("a character beyond Unicode", 'space: {data: "\\U00110000"}\n', "is not YAML"),
    file("a surrogate", 'space: {data: {kind: "\\uD800"}}\n', "must be one of fashion_mnist"),
    file("merge keys", "base: &b {kind: digits}\nspace: {data: {<<: *b}}\n", "tags are refused"),
    # Size and depth.
    file("20,000 lists in each other", "space: " + "[" * 20_000, "at most 32 levels deep"),
    file("20,000 mappings in each other", "space: " + "{a: " * 20_000, "at most 32 levels deep"),
    file("20,000 block lists", "- " * 20_000 + "x", "at most 32 levels deep"),
    file("20,000 keys in each other", "? " * 20_000 + "x", "at most 32 levels deep"),
    file("33 deep", "space: " + "[" * 33 + "]" * 33, "at most 32 levels deep", "Use fewer levels"),
    file("aliases of aliases", BILLION, "at most 20,000 values"),
    file("an alias of itself", "space: &s [*s]\n", "an alias of itself"),
    file("deep aliases", DEEP_ALIASES, "aliases too deep in each other"),
    file("two megabytes", "# " + "x" * 2_000_000, "it is larger than 1,048,576 bytes"),
    file("21,000 values", f"space: [{'1, ' * 21_000}]", "at most 20,000 values"),
    file("a long name", f"space: {{{'k' * 1_000}: 1}}", "a name may have at most 200 characters; got 1,000"),
    file("a name of dots", f"space: {{'{'a.' * 200}': 1}}", "a name may have at most 200 characters"),
    file("5,000 unknown names", f"space:\n  {DIGITS}\n{MANY_KEYS}", "and 1 more problems", "k0: unknown setting"),
    space("a long word", f"precision: {'x' * 500_000}", "precision: must be one of float32", "..."),
    space("a long list", f"epochs: [{'1, ' * 10_000}]", "epochs: must be an integer", "..."),
    # Tags and values that do not suit them.
    file("a tag of Python", "space: !!python/object/apply:os.system [ls]\n", "tags are refused"),
    file("a tag of its own", "space: !mine {}\n", "tags are refused"),
    file("a set", "space: !!set {a, b}\n", "tags are refused"),
    file("binary data", "space: !!binary aGVsbG8=\n", "tags are refused"),
    file("an ordered mapping", "space: !!omap [a: 1]\n", "tags are refused"),
    space("no bool", 'epochs: !!bool "maybe"', "bad.yaml:3", "must be true or false", "got 'maybe'"),
    space("no int", 'epochs: !!int "many"', "bad.yaml:3", "must be a whole number", "got 'many'"),
    space("an empty int", 'epochs: !!int ""', "must be a whole number"),
    space("no float", 'ema_decay: !!float "none"', "must be a number", "got 'none'"),
    space("a list that is a bool", "epochs: !!bool [1]", "tags are refused"),
    space("a mapping that is an int", "epochs: !!int {a: 1}", "tags are refused"),
    space("a mapping that is a list", "epochs: !!seq {a: 1}", "tags are refused"),
    space("a scalar that is a list", "epochs: !!seq 3", "tags are refused"),
    space("a scalar that is a mapping", "epochs: !!map 3", "tags are refused"),
    space("a time that is a list", "epochs: !!timestamp [1]", "tags are refused"),
    space("5,000 digits", f"epochs: {'9' * 5_000}", "bad.yaml:3", "9,007,199,254,740,992", "5,000 characters"),
    space("5,000 hexadecimal digits", f"epochs: 0x{'f' * 5_000}", "9,007,199,254,740,992"),
    space("more than a float holds", "seed: 9007199254740993", "at most 9,007,199,254,740,992 large"),
    space("5,000 digits after the point", f"ema_decay: 0.{'9' * 5_000}", "must be less than 1; got 1.0"),
    # Names.
    file(
        "a name twice", "space:\n  data: {kind: digits}\n  data: {kind: mnist}\n", "bad.yaml:3", "only once; got data"
    ),
    file("a number for a name", "1: 2\nspace: {}\n", "a name must be a word; got 1"),
    file("null for a name", "~: 2\nspace: {}\n", "a name must be a word; got None"),
    file("a list for a name", "? [1, 2]\n: 3\n", "a name must be a word; got [1, 2]"),
    file("a mapping for a name", "? {a: 1}\n: 3\n", "a name must be a word"),
    file("true for a name", "true: 1\n", "a name must be a word; got True"),
    file("an empty name", "'': 1\nspace: {data: {kind: digits}}\n", "unknown: a file has study: and space:"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_that_is_no_space(case: Case, tmp_path: Path) -> None:
    answered(case, tmp_path)


@pytest.mark.parametrize("content", [case.files["bad.yaml"] for case in CASES[:24]])
def test_the_same_on_standard_input(content: str | bytes, tmp_path: Path) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    case = Case("stdin", ("check", "-"), ("standard input",), stdin=data)
    answered(case, tmp_path)


NO_FILES = [
    (".", "a space is a regular file"),
    ("/dev/zero", "a space is a regular file"),
    ("/dev/full", "a space is a regular file"),
    ("pipe", "Give its text on standard input, and - for its name"),
    ("locked/space.yaml/below", "no such file"),
    ("nowhere.yaml", "no such file"),
    ("digits_mpl", "Did you mean digits_mlp?"),
    ("x" * 300, "no such file"),
    ("x/" * 3_000, "no such file"),
    ("a\0b", "no such file"),
    ("", "a space is a regular file"),
    ("loop", "no such file"),
    ("/proc/self/mem", "cannot be read"),
]


@pytest.mark.parametrize(("source", "said"), NO_FILES)
def test_what_is_no_file(source: str, said: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    answered(Case(source, ("check", source), (said,)), tmp_path)


def test_a_mark_of_byte_order_is_read(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfspace: {data: {kind: digits}}\n"
    answered(Case("mark", ("check", "bad.yaml"), (), {"bad.yaml": content}, code=0), tmp_path)
