from pathlib import Path

import pytest

from benchmarks.throughput import main


def test_each_way_is_timed_and_compared(fashion_mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--pairs", "1", "--images", "1000"])
    printed = capsys.readouterr().out
    for way in ("dnntune", "usual", "resident"):
        line = next(line for line in printed.splitlines() if line.startswith(f"  {way}"))
        assert float(line.split()[1].replace(",", "")) > 0
    assert "dnntune / usual: median" in printed
