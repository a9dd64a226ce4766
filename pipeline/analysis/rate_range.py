"""What `dnntune lr-find` finds: a range of learning rates worth searching."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.core.errors import DnntuneError

# Share of the whole fall of the loss after which it counts as falling.
BEGUN = 0.2
# Below this fall, in nats, it is noise.
SMALLEST_FALL = 0.05
# A constant rate's usual distance from where the loss stops falling.
SAFETY = 10.0
ROWS, BAR = 20, 40


@dataclass(frozen=True)
class RateRange:
    """Learning rates worth searching.

    Attributes:
        low: Where the loss has begun to fall.
        high: Where it stops falling.
        constant: A rate to begin with, if it is to stay constant.
    """

    low: float
    high: float
    constant: float


def suggest(rates: Sequence[float], losses: Sequence[float]) -> RateRange:
    """Reads a range test's curve.

    The loss is smallest just before the rate is too high; a constant rate is best about a tenth of that.

    Args:
        rates: Ascending.
        losses: The smoothed loss at each.

    Raises:
        DnntuneError: The loss falls nowhere.
    """
    bottom = min(range(len(losses)), key=losses.__getitem__) if losses else 0
    top = max(losses[: bottom + 1]) if losses else 0.0
    if not losses or top - losses[bottom] < SMALLEST_FALL:
        raise DnntuneError(
            "the training loss falls at no learning rate of the range test: dnntune diagnose shows why, or widen the "
            "range with --low and --high"
        )
    begun = top - BEGUN * (top - losses[bottom])
    peak = losses.index(top)
    low = next(rate for rate, loss in zip(rates[peak:], losses[peak:], strict=True) if loss <= begun)
    high = rates[bottom]
    return RateRange(*(float(f"{rate:.2g}") for rate in (min(low, high / SAFETY), high, high / SAFETY)))


def curve_lines(rates: Sequence[float], losses: Sequence[float], found: RateRange) -> Iterator[str]:
    """Draws the curve with characters: a line for every few rates."""
    top, bottom = max(losses[0], min(losses)), min(losses)
    yield f"{'rate':>9}  {'loss':>7}"
    for index in range(0, len(rates), max(1, len(rates) // ROWS)):
        length = round(BAR * (min(losses[index], top) - bottom) / (top - bottom))
        mark = " *" if found.low <= rates[index] <= found.high else ""
        yield f"{rates[index]:9.2e}  {losses[index]:7.4f}  {'#' * length}{mark}"


def suggestion_lines(found: RateRange) -> Iterator[str]:
    """Writes what to paste into a space (its rates are marked with * in the curve)."""
    yield f"lr: {{float: [{found.low:g}, {found.high:g}], log: true}}    # in the optimizer's block: the rates marked *"
    yield f"lr: {found.constant:g}    # or this one, constant; one_cycle may peak at {found.high / 3:.2g}"
