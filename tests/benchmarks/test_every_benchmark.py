"""Every benchmark runs, on little: none may rot unseen. What the figures are is for a quiet machine to say."""

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import HOW_TO_GET, postgresql_programs

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Main = Callable[[str, str], str]

pytestmark = pytest.mark.usefixtures("fashion_mnist")


def _modules() -> set[str]:
    """Returns what ``python -m benchmarks.NAME`` can run."""
    files = {file.stem for file in BENCHMARKS.glob("*.py") if file.stem != "__init__"}
    return files | {file.parent.name for file in BENCHMARKS.glob("*/__main__.py")}


@pytest.fixture
def benchmark(capsys: pytest.CaptureFixture[str]) -> Main:
    """Runs ``python -m benchmarks.NAME ARGUMENTS`` in this process; returns what it printed."""

    def run(name: str, arguments: str) -> str:
        module = f"benchmarks.{name}.__main__" if (BENCHMARKS / name).is_dir() else f"benchmarks.{name}"
        importlib.import_module(module).main(arguments.split())
        return capsys.readouterr().out

    return run


def test_each_benchmark_has_a_test_here() -> None:
    tested = set(re.findall(r'benchmark\(\n? *"(\w+)",', Path(__file__).read_text()))
    assert tested == _modules()


def test_throughput(benchmark: Main) -> None:
    printed = benchmark("throughput", "--pairs 1 --images 1000")
    for way in ("dnntune", "usual", "resident"):
        line = next(line for line in printed.splitlines() if line.startswith(f"  {way}"))
        assert float(line.split()[1].replace(",", "")) > 0
    assert "dnntune / usual: median" in printed


def test_finetune(benchmark: Main) -> None:
    model = "--model test_resnet --image-size 32 --batch-size 8 --steps 2"
    printed = benchmark("finetune", f"--device cpu --precision float32 --pairs 1 {model}")
    assert re.search(r"light / timm: median \d+\.\d\d", printed)


def test_gradient_flow(benchmark: Main) -> None:
    printed = benchmark("gradient_flow", "--pairs 1 --steps 32 --images 500")
    assert len(re.findall(r"by steps, 1 runs: median \d\.\d+ ", printed)) == 3
    assert len(re.findall(r"by epochs, 1 pairs: median \d+\.\d+ ", printed)) == 3


def test_verdict(benchmark: Main) -> None:
    printed = benchmark("verdict", "--trials 2 --images 3600")
    assert re.search(r"it would have ended [0-2] of 2;", printed)


def test_imbalance(benchmark: Main) -> None:
    printed = benchmark("imbalance", "--seeds 1 --epochs 1 --images 3000")
    for way in ("natural", "balanced sampling", "class weights", "focal loss"):
        assert re.search(rf"^\| {way} \| 0\.\d{{4}} \(", printed, re.MULTILINE)
    assert "6 of 2,706 training images are of class 6" in printed


def test_image_folder(benchmark: Main, tmp_path: Path) -> None:
    benchmark("image_folder", f"{tmp_path} --per-class 2")
    for part in ("train", "test"):
        assert len(list((tmp_path / part).glob("*/*.png"))) == 20


@pytest.mark.slow
def test_overhead(benchmark: Main) -> None:
    printed = benchmark("overhead", "--trials 2")
    assert re.search(r"overhead, all 2: mean -?\d+\.\d ms", printed)
    assert re.search(r"supervisor: \d+\.\d ms of processor time a trial", printed)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["frozen", "unfrozen"])
def test_cache(benchmark: Main, case: str) -> None:
    little = "--trials 2 --unfrozen-trials 2 --epochs 1 --train-images 64 --valid-fraction 0.002 --image-size 32"
    printed = benchmark("cache", f"--case {case} {little}")
    assert "ratio of the studies' times" in printed
    assert "validation accuracies of 2 trials drawn by both studies (of 2): 2 equal" in printed


@pytest.mark.slow
def test_reference(benchmark: Main, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    line = f"--workspace {tmp_path} --seeds 1 --processes 1 --only README --epochs 1 --page {page}"
    assert "1/1 README MLP, seed 0: " in benchmark("reference", line)
    assert re.search(r"\| README MLP \| test \| 0\.8833 \| 0\.\d{4} \(1\) ", page.read_text())
    assert benchmark("reference", line) == ""  # what has been trained is not trained again


@pytest.mark.slow
def test_transfer(benchmark: Main, tmp_path: Path) -> None:
    little = "--sizes 50 --seeds 1 --processes 1 --epochs 1 --mlp-trials 1 --image-size 32"
    printed = benchmark("transfer", f"--workspace {tmp_path} {little}")
    for method in ("frozen, linear head", "its top stage unfrozen", "best perceptron"):
        assert re.search(rf"\| [^|]*{method}[^|]* \| 0\.\d{{4}} ", printed)


@pytest.mark.slow
def test_scaling_of_workers(benchmark: Main) -> None:
    printed = benchmark("scaling", "--case workers --data digits --rounds 1 --trials 2 --epochs 1")
    assert re.search(r"\| training loop alone \| [\d,]+ \| [\d,]+ \| \d+\.\d\d \|", printed)


@pytest.mark.slow
def test_scaling_of_storages(benchmark: Main, tmp_path: Path) -> None:
    if postgresql_programs() is None:
        pytest.skip(HOW_TO_GET)
    out = tmp_path / "figures.json"
    benchmark("scaling", f"--case storage --workers 2 --rounds 1 --seconds 0.5 --out {out}")
    figures = json.loads(out.read_text())["figures"]
    for storage in ("SQLite", "PostgreSQL"):
        assert all(speed > 0 for sampler in ("random", "TPE") for speed in figures[storage][sampler])


@pytest.mark.slow
def test_scaling_beside_ray_tune(benchmark: Main) -> None:
    printed = benchmark("scaling", "--case ray-tune --rounds 1 --trials 4 --function-trials 2")
    for way in ("dnntune, whole study", "Ray Tune, class", "Ray Tune, function"):
        assert re.search(rf"\| {way}[^|]* \| 1 x \d ", printed)
