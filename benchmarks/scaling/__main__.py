"""What several workers bring, how fast each storage is, and what a trial costs beside Ray Tune's.

- workers: trials an hour of one study with one worker and with two, in alternation, beside what the bare training loop
  does in as many processes;
- storage: trials a second with eight workers of trivial trials, through SQLite and PostgreSQL;
- ray-tune: the time that a trial of a trivial objective takes here, and in Ray Tune with its OptunaSearch.

Each takes less than four minutes on two cores, and prints a table that can stand in a document.

    python -m benchmarks.scaling --case workers --docs
"""

import argparse
import json
import signal
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scaling.report import LOAD, Report

BUSY_LOAD = 0.5


def measured(options: argparse.Namespace) -> Report:
    """Runs the case that was asked for; what a case does not use is not imported."""
    if options.case == "workers":
        from benchmarks.scaling import workers

        return workers.measure(
            data=options.data,
            workers=options.workers or 2,
            rounds=options.rounds or workers.ROUNDS,
            trials=options.trials or workers.TRIALS,
            epochs=options.epochs or workers.EPOCHS,
        )
    if options.case == "storage":
        from benchmarks.scaling import storages

        return storages.measure(
            workers=options.workers or storages.WORKERS,
            rounds=options.rounds or storages.ROUNDS,
            seconds=options.seconds or storages.SECONDS,
        )
    from benchmarks.scaling import ray_tune

    return ray_tune.measure(
        rounds=options.rounds or ray_tune.ROUNDS,
        trials=options.trials or ray_tune.TRIALS,
        function_trials=options.function_trials or ray_tune.FUNCTION_TRIALS,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a case and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=["workers", "storage", "ray-tune"], required=True)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write every round's figures")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/scaling.md")
    parser.add_argument("--rounds", type=int, help="of each way")
    parser.add_argument("--trials", type=int, help="of a round of workers (10) and ray-tune (100)")
    parser.add_argument("--seconds", type=float, help="of a round of storage (4)")
    parser.add_argument("--workers", type=int, help="of workers (2) and storage (8)")
    parser.add_argument("--data", choices=["fashion_mnist", "digits"], default="fashion_mnist", help="of workers")
    parser.add_argument("--epochs", type=int, help="of workers (10)")
    parser.add_argument("--function-trials", type=int, help="of ray-tune, in functions: seconds each")
    options = parser.parse_args(arguments)
    if LOAD > BUSY_LOAD:
        print(f"the machine is busy (load {LOAD:.1f}): it takes longer, and ratios say little", flush=True)
    report = measured(options)
    print("\n" + "\n".join(report.lines()))
    if options.out is not None:
        options.out.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    if options.docs:
        report.write()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers and processes that were started end, too
    main()
