"""Trials a second through each storage, with many workers and trials that cost nothing by themselves."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.scaling import trivial
from benchmarks.scaling.crew import Crew
from benchmarks.scaling.report import Report, with_range
from pipeline.config.study import Median, Random, SamplerConfig, StudyConfig, Tpe
from pipeline.storage.open import open_storage, quiet_optuna
from tests.servers import HOW_TO_GET, postgresql_programs, postgresql_server

ROUNDS, SECONDS, WORKERS, EPOCHS = 3, 4.0, 8, 10
# Samplers and pruners take the longer the more trials there are: every storage begins with as many.
NUM_FINISHED = 20
# More than are run: no worker waits for another one's last trial.
TOTAL = 100_000
SAMPLERS: dict[str, SamplerConfig] = {"random": Random(), "TPE": Tpe()}
HEADER = ["storage", "random sampler, trials/s", "TPE, trials/s"]


def _open_all(stack: ExitStack) -> dict[str, str]:
    """Starts the servers; returns the URLs of fresh databases."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    urls = {"SQLite": f"sqlite:///{folder / 'studies.db'}"}
    programs = postgresql_programs()
    if programs is None:
        print(f"PostgreSQL is left out: {HOW_TO_GET}")
    else:
        server = stack.enter_context(postgresql_server(programs))
        urls["PostgreSQL"] = server.fresh().url
    return urls


def measure(*, workers: int, rounds: int, seconds: float) -> Report:
    """Measures every storage in turn, round after round; see `benchmarks.scaling.__main__`."""
    quiet_optuna()
    speeds: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        urls = _open_all(stack)
        crew = stack.enter_context(Crew(workers))
        for number in range(rounds):
            for storage, url in urls.items():
                for sampler, config in SAMPLERS.items():
                    settings = StudyConfig(trials=TOTAL, seed=number, sampler=config, pruner=Median())
                    speed = _trials_per_second(crew, url, f"{sampler}-{number}", settings, workers, seconds)
                    speeds.setdefault(storage, {}).setdefault(sampler, []).append(speed)
                shown = ", ".join(f"{sampler} {each[-1]:.1f}" for sampler, each in speeds[storage].items())
                print(f"round {number + 1} of {rounds}, {storage}: {shown} trials/s", flush=True)
    return _report(speeds, workers=workers, rounds=rounds, seconds=seconds)


def _trials_per_second(crew: Crew, url: str, name: str, settings: StudyConfig, workers: int, seconds: float) -> float:
    """Returns the sum of the workers' speeds: each ends its last trial, so that none counts by halves."""
    trivial.create(open_storage(url), name, settings, epochs=EPOCHS, num_finished=NUM_FINISHED)
    shares: list[trivial.Share] = crew.timed(
        trivial.prepare, [(url, name, settings, EPOCHS, seconds)] * workers
    ).results
    trivial.assert_num_finished(url, name, NUM_FINISHED + sum(len(share.ends) for share in shares))
    return sum(len(share.ends) / share.seconds for share in shares)


def _report(speeds: dict[str, dict[str, list[float]]], *, workers: int, rounds: int, seconds: float) -> Report:
    rows = [[storage, *(with_range(each[sampler], ".1f") for sampler in SAMPLERS)] for storage, each in speeds.items()]
    notes = [
        f"Median (smallest to largest) of n = {rounds} rounds in turn, {seconds:g} s each, in studies that have "
        f"{NUM_FINISHED} trials already.",
        f"A trial is claimed, draws 5 parameters, reports {EPOCHS} epochs, asks the median pruner after each (none is "
        "pruned), and stores its result: all that a worker does with the storage, without MLflow and heartbeats.",
        "The servers run on the same cores. SQLite has a write-ahead log and synchronous=NORMAL; PostgreSQL has "
        "fsync=off: a commit of neither waits for the disk.",
    ]
    return Report(
        case="storage",
        title=f"Trials a second, {workers} workers of trials without any training:",
        header=HEADER,
        rows=rows,
        notes=notes,
        packages=["optuna", "sqlalchemy", "psycopg"],
        figures=speeds,
    )
