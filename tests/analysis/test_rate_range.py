"""The range test's curve: what it suggests, and how that is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.analysis.rate_range import BAR, RateRange, curve_lines, suggest, suggestion_lines
from pipeline.core.errors import DnntuneError
from pipeline.space.distributions import FloatRange
from pipeline.space.files import load_configuration, load_space

# Ten rates to a decade, from 1e-6 to 10; the curves below are written over their base-10 logarithms.
EXPONENTS = [-6.0 + index / 10 for index in range(71)]
RATES = [10.0**exponent for exponent in EXPONENTS]
Curve = Callable[[float], float]


def losses(curve: Curve) -> list[float]:
    return [curve(exponent) for exponent in EXPONENTS]


def valley(exponent: float) -> float:
    """2.3 up to 1e-3, down to 0.5 at 0.1, up from there."""
    if exponent <= -1.0:
        return 2.3 - 0.9 * max(exponent + 3.0, 0.0)
    return 0.5 + 2.0 * (exponent + 1.0)


def falling(exponent: float) -> float:
    return 2.3 - 0.2 * (exponent + 6.0)


def cliff(exponent: float) -> float:
    """Falls within a third of a decade, and then rises."""
    if exponent <= -1.0:
        return 2.3 if exponent < -1.35 else 1.0 - (exponent + 1.0)
    return 3.0


def hump(exponent: float) -> float:
    """Begins below the height from which it will fall: 2, up to 2.4 at 1e-4, down to 1 at 0.1."""
    if exponent <= -4.0:
        return 2.0 + 0.2 * (exponent + 6.0)
    return 2.4 - 1.4 * (exponent + 4.0) / 3.0 if exponent <= -1.0 else 4.0


def test_the_range_runs_from_where_the_loss_falls_to_where_it_is_smallest() -> None:
    found = suggest(RATES, losses(valley))
    assert found.high == 0.1
    assert found.constant == 0.01
    # a fifth of the fall is at 10^-2.6; two digits and the next rate are allowed
    assert 0.0024 <= found.low <= 0.0033


@pytest.mark.parametrize("curve", [valley, falling, cliff, hump])
def test_a_range_is_in_order(curve: Curve) -> None:
    found = suggest(RATES, losses(curve))
    assert 0.0 < found.low <= found.constant < found.high
    assert found.high == pytest.approx(10 * found.constant)


def test_a_loss_that_only_falls_ends_the_range_at_the_last_rate() -> None:
    found = suggest(RATES, losses(falling))
    assert found.high == pytest.approx(RATES[-1])
    # a fifth of seven decades lies at 10^-4.6
    assert found.low == pytest.approx(10**-4.6, rel=0.3)


def test_a_range_has_at_least_a_decade() -> None:
    found = suggest(RATES, losses(cliff))
    assert (found.low, found.constant, found.high) == (0.01, 0.01, 0.1)


def test_a_rate_before_the_loss_has_risen_is_not_the_low_end() -> None:
    found = suggest(RATES, losses(hump))
    assert found.low > 1e-4


@pytest.mark.parametrize(
    "curve",
    [
        lambda exponent: 2.3,
        lambda exponent: 2.3 + (exponent + 6.0),
        lambda exponent: 2.3 - 0.04 * (exponent > -2.0),  # noise
    ],
    ids=["flat", "rises", "noise"],
)
def test_a_loss_that_never_falls_is_a_case_for_diagnose(curve: Curve) -> None:
    with pytest.raises(DnntuneError, match="dnntune diagnose shows why"):
        suggest(RATES, losses(curve))


def test_a_test_that_ended_at_once_is_a_case_for_diagnose() -> None:
    with pytest.raises(DnntuneError, match="dnntune diagnose"):
        suggest([], [])


def test_the_curve_is_drawn_with_its_range_marked() -> None:
    found = suggest(RATES, losses(valley))
    head, *lines = curve_lines(RATES, losses(valley), found)
    assert head.split() == ["rate", "loss"]
    assert 20 <= len(lines) <= 40
    for line in lines:
        rate, loss, *drawn = line.split()
        assert ("*" in drawn) == (found.low <= float(rate) <= found.high)
        length = len(drawn[0]) if drawn and drawn[0] != "*" else 0
        # from nothing at 0.5 to the whole bar at 2.3, the first loss; what lies above is cut
        assert length == pytest.approx(BAR * (min(float(loss), 2.3) - 0.5) / 1.8, abs=0.6)
    assert any(line.endswith("*") for line in lines)


def test_a_short_curve_has_every_rate() -> None:
    rates, curve = [0.001, 0.01, 0.1], [2.0, 1.0, 3.0]
    _, *lines = curve_lines(rates, curve, RateRange(0.001, 0.01, 0.001))
    assert [float(line.split()[0]) for line in lines] == rates


@pytest.mark.parametrize("curve", [valley, falling, cliff, hump])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_suggested_line_belongs_into_an_optimizer(tmp_path: Path, curve: Curve, kind: str) -> None:
    found = suggest(RATES, losses(curve))
    search, constant = suggestion_lines(found)
    file = tmp_path / "mine.yaml"
    head = f"space:\n  data: {{kind: digits}}\n  optimizer:\n    kind: {kind}\n    "
    file.write_text(head + search + "\n")
    (parameter,) = load_space(str(file)).space.parameters()
    assert parameter.name == "optimizer.lr"
    assert parameter.distribution == FloatRange(found.low, found.high, log=True)
    file.write_text(head + constant + "\n")
    assert load_configuration(str(file)).optimizer.lr == found.constant
