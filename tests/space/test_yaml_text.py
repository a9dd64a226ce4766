import pytest

from pipeline.core.errors import SpaceError
from pipeline.space.yaml_text import dump, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("0x1F", 31),
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("~", None),
        ("2026-01-01", "2026-01-01"),
        ("'1'", "1"),
        ("[1, 2.5, x]", [1, 2.5, "x"]),
        ("{a: {b: c}}", {"a": {"b": "c"}}),
    ],
)
def test_reads_yaml_1_2(text: str, value: object) -> None:
    plain = parse(text, "t").to_python()
    assert plain == value
    assert type(plain) is type(value)


def test_every_value_knows_its_line() -> None:
    root = parse("a: 1\nb:\n  c: 2\n  d:\n    - 3\n    - 4\n", "f.yaml")
    assert root.value["a"].location == "f.yaml:1"
    assert root.value["b"].value["c"].location == "f.yaml:3"
    assert root.value["b"].value["d"].value[1].location == "f.yaml:6"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "f.yaml:2: a name may stand only once; got a again"),
        ("a: [1, 2\n", "is not YAML"),
        ("a: b: c\n", "f.yaml:1: is not YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "f.yaml:1: tags are refused"),
        ("1: 2\n", "f.yaml:1: a name must be a word; got 1"),
        ("a: &x [*x]\n", "alias of itself"),
        ("a: \x00\n", "is not YAML"),
    ],
)
def test_refuses_what_is_not_plain_data(text: str, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        parse(text, "f.yaml")
    assert message in str(caught.value)


def test_aliases_cannot_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(SpaceError, match="at most 20,000 values"):
        parse("\n".join(lines), "bomb.yaml")


@pytest.mark.parametrize(
    "value",
    [1e-05, 0.1, 1e16, 3, True, None, "off", "1e-3", "null", "a: b", "", [1, 2], {"a": {"b": [0.5, "x"]}, "c": None}],
)
def test_what_is_written_is_read_back(value: object) -> None:
    again = parse(dump({"x": value}), "t").to_python()["x"]
    assert again == value
    assert type(again) is type(value)
