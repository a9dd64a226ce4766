"""What a trial costs beside its training: here, and in Ray Tune with its OptunaSearch."""

import dataclasses
import logging
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from benchmarks.scaling import trivial
from benchmarks.scaling.crew import Crew
from benchmarks.scaling.report import Report, with_range
from benchmarks.scaling.studies import space_of, timed_study
from pipeline.config.study import NoPruning, StudyConfig, Tpe
from pipeline.storage.open import open_storage, quiet_optuna

TRIALS, FUNCTION_TRIALS, ROUNDS, WORKERS, STEPS = 100, 12, 2, 2, 3
OURS, OUR_STORAGE = "dnntune, whole study", "dnntune, storage alone"
RAY_CLASS, RAY_FUNCTION = "Ray Tune, class, reuse_actors=True", "Ray Tune, function"
HOW_TO_GET = "needs Ray Tune: pip install 'ray[tune]'"

SPACE = """
study:
  sampler: tpe
  pruner: none
space:
  data: {kind: digits, max_train_images: 100}
  model:
    kind: mlp
    hidden_layers: 1
    width: {int: [16, 128], log: true}
    activation: {choice: [relu, elu, leaky_relu, tanh]}
    dropout: {kind: dropout, rate: {float: [0.1, 0.5]}, last_layers: 1}
  optimizer: {kind: sgd, lr: {float: [1e-4, 1e-1], log: true}, momentum: {float: [0.0, 0.99]}}
  batch_size: 32
  early_stopping: {patience: null}
"""


@dataclass(frozen=True)
class Run:
    """A search that has ended: when it was called, when each trial ended (Unix time), and seconds until it returned."""

    called: float
    ends: list[float]
    seconds: float

    @property
    def milliseconds(self) -> float:
        """Time from one trial's end to the next one's, on average: start-up does not count."""
        return 1000 * (max(self.ends) - min(self.ends)) / (len(self.ends) - 1)

    @property
    def before(self) -> float:
        """Seconds from the call to the first trial's end."""
        return min(self.ends) - self.called

    @property
    def after(self) -> float:
        """Seconds from the last trial's end to the return."""
        return self.called + self.seconds - max(self.ends)


def whole_study(trials: int) -> tuple[Run, float]:
    """Runs a study of real, tiny trainings; returns the milliseconds of training in a trial, too."""
    done = timed_study(space_of(SPACE, {"epochs": STEPS, "study.trials": trials}), workers=WORKERS)
    run = Run(done.called, list(done.trials.ends.values()), done.seconds)
    return run, 1000 * statistics.median(done.trials.training.values())


def storage_alone(trials: int) -> Run:
    """Runs trivial trials through the storage."""
    quiet_optuna()
    settings = StudyConfig(trials=trials, sampler=Tpe(), pruner=NoPruning())
    with tempfile.TemporaryDirectory() as folder, Crew(WORKERS) as crew:
        url = f"sqlite:///{Path(folder) / 'studies.db'}"
        trivial.create(open_storage(url), "trivial", settings, epochs=STEPS)
        timed = crew.timed(trivial.prepare, [(url, "trivial", settings, STEPS, math.inf)] * WORKERS)
        trivial.assert_num_finished(url, "trivial", trials)
    return Run(timed.began, [end for share in timed.results for end in share.ends], timed.seconds)


def _trainables(tune: Any) -> tuple[Callable[[dict[str, Any]], None], type]:
    """Returns the trivial objective as a function and as a class; defined here, so that Ray pickles them by value."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(trivial)  # its workers need not find this module
    steps, value_of = STEPS, trivial.value_of

    def function(config: dict[str, Any]) -> None:
        for _ in range(steps):
            tune.report({"value": value_of(config), "ended": time.time()})

    class Trainable(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.params = config

        def step(self) -> dict[str, Any]:
            return {"value": value_of(self.params), "ended": time.time(), "done": self.iteration + 1 >= steps}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.params = new_config
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None: ...

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    return function, Trainable


def _space(trial: optuna.Trial) -> None:
    """Draws for `OptunaSearch`, which takes the trial's parameters by itself."""
    trivial.draw(trial)


def tuned(tune: Any, trainable: Any, trials: int, *, reuse_actors: bool) -> Run:
    """Runs trivial trials in Ray Tune, on a Ray that has been started."""
    from ray.tune.search.optuna import OptunaSearch

    with tempfile.TemporaryDirectory() as folder:
        called, clock = time.time(), time.perf_counter()
        results = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(_space, metric="value", mode="max"),
                num_samples=trials,
                max_concurrent_trials=WORKERS,
                reuse_actors=reuse_actors,
            ),
            run_config=tune.RunConfig(storage_path=folder, name="trivial", verbose=0),
        ).fit()
        seconds = time.perf_counter() - clock
    assert len(results) == trials
    assert results.num_errors == 0
    return Run(called, [result.metrics["ended"] for result in results], seconds)


@contextmanager
def _ray() -> Iterator[tuple[Any, float]]:
    """Starts a Ray on this machine's loopback; gives `ray.tune`, and how many seconds the start took."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    clock = time.perf_counter()
    try:
        import ray
        from ray import tune
        from ray.tune.search.optuna import OptunaSearch  # noqa: F401  # its imports count as Ray's start, too
    except ImportError as error:
        raise SystemExit(f"{HOW_TO_GET} ({error})") from None
    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield tune, time.perf_counter() - clock
    finally:
        ray.shutdown()


def measure(*, rounds: int, trials: int, function_trials: int) -> Report:
    """Measures ours and Ray Tune in turn; see `benchmarks.scaling.__main__`."""
    runs: dict[str, list[Run]] = {}
    training, starts = [], []
    for number in range(rounds):
        study, milliseconds = whole_study(trials)
        training.append(milliseconds)
        runs.setdefault(OURS, []).append(study)
        runs.setdefault(OUR_STORAGE, []).append(storage_alone(trials))
        with _ray() as (tune, seconds):
            starts.append(seconds)
            function, trainable = _trainables(tune)
            runs.setdefault(RAY_CLASS, []).append(tuned(tune, trainable, trials, reuse_actors=True))
            if number == 0:  # it is slow, and each trial stands for itself
                runs[RAY_FUNCTION] = [tuned(tune, function, function_trials, reuse_actors=False)]
        shown = ", ".join(f"{name} {each[-1].milliseconds:.0f}" for name, each in runs.items())
        print(f"round {number + 1} of {rounds}, ms a trial: {shown}", flush=True)
    return _report(runs, training, starts)


def _report(runs: dict[str, list[Run]], training: list[float], starts: list[float]) -> Report:
    rows = [
        [
            name,
            f"{len(each)} x {len(each[0].ends)}",
            with_range([run.milliseconds for run in each], ",.0f"),
            with_range([1000 / run.milliseconds for run in each], ",.2f"),
            with_range([run.before for run in each], ".1f"),
            with_range([run.after for run in each], ".1f"),
        ]
        for name, each in runs.items()
    ]
    notes = [
        "Median (smallest to largest) of the rounds, in turn. A trial's time is that from the first trial's end to the "
        "last one's, over their number: what comes before and after is in the last columns.",
        f"The whole study claims, draws, trains a real perceptron for {STEPS} epochs "
        f"({with_range(training, '.1f')} ms of a trial, on each worker), measures gradient flow, saves checkpoints, "
        "and logs to SQLite and MLflow, whose log lags behind trials this short: the rest is written after "
        "the last one. The storage alone claims, draws and stores in SQLite, with the objective that "
        f"Ray Tune has, too: nothing but {STEPS} reports.",
        "Ray Tune keeps Optuna's study in the driver's memory and writes its default logs (CSV, JSON; TensorBoard's if "
        f"tensorboardX is installed). Ray's own start ({with_range(starts, '.1f')} s, imports included) is in "
        "neither. All draw by TPE, without pruning.",
    ]
    return Report(
        case="ray-tune",
        title=f"What a trial costs beside its training, {WORKERS} workers:",
        header=["", "trials", "ms a trial", "trials/s", "before the first trial's end, s", "after the last one's, s"],
        rows=rows,
        notes=notes,
        packages=["torch", "optuna", "mlflow", "ray", "tensorboardX"],
        figures={
            "runs": {name: [dataclasses.asdict(run) for run in each] for name, each in runs.items()},
            "training_milliseconds": training,
            "ray_start_seconds": starts,
        },
    )
