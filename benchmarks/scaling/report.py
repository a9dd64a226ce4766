"""A benchmark's table, with what it ran on; printed, kept as JSON, and put into docs/scaling.md."""

import dataclasses
import os
import platform
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
# Where tables stand in the page that has none of a case yet.
PLACE = "<!-- figures -->"
LOAD = os.getloadavg()[0]


@dataclass(frozen=True)
class Report:
    """What a case has measured.

    Attributes:
        case: Its word on the command line.
        title: What is compared, in a line.
        header: The columns.
        rows: The cells.
        notes: What was run, and what each figure includes.
        packages: Packages whose versions matter.
        figures: What was measured, round by round, for JSON.
        load: The machine's load average before it began: processes of others that want a core.
    """

    case: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    packages: Sequence[str]
    figures: dict[str, Any] = field(default_factory=dict)
    load: float = LOAD

    def lines(self) -> Iterator[str]:
        """Yields the lines of the table in Markdown, and of what stands under it."""
        yield f"{self.title}\n"
        for cells in (self.header, ["---"] * len(self.header), *self.rows):
            yield f"| {' | '.join(cells)} |"
        yield ""
        ran_on = f"{machine()}, load {self.load:.1f} before it began; {', '.join(self.versions())}."
        yield from textwrap.wrap(" ".join([*self.notes, ran_on]), 118)

    def versions(self) -> list[str]:
        """Returns the packages with their versions."""
        return [f"Python {platform.python_version()}", *map(_with_version, self.packages)]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {**dataclasses.asdict(self), "machine": machine(), "versions": self.versions()}

    def write(self, page: Path = PAGE) -> None:
        """Puts the table into a page: in the place of the case's earlier one, or before `PLACE`."""
        begin, end = f"<!-- python -m benchmarks.scaling --case {self.case} -->", f"<!-- end of {self.case} -->"
        text = page.read_text(encoding="utf-8")
        block = "\n".join([begin, *self.lines(), end])
        if begin in text:
            before, _, rest = text.partition(begin)
            text = before + block + rest.partition(end)[2]
        elif PLACE in text:
            text = text.replace(PLACE, f"{block}\n\n{PLACE}")
        else:
            raise SystemExit(f"{page.name} has neither a table of {self.case} nor a line {PLACE} to put it before")
        page.write_text(text, encoding="utf-8")


def machine() -> str:
    """Returns the processor and how many of its cores this process may use."""
    names = [line.partition(":")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    name = names[0].strip() if names else platform.machine()
    return f"{len(os.sched_getaffinity(0))} cores of a shared {name}"


def with_range(values: Sequence[float], form: str) -> str:
    """Returns the median, and the smallest and the largest value, each in a format such as ``,.1f``."""
    middle, low, high = (format(value, form) for value in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def _with_version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"
