"""Runs of configurations in several processes, kept as lines of JSON: what is there is not run again."""

import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.transfer.methods import Cell
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.data.feature_cache import FeatureCache
from pipeline.evaluation.train_and_test import train_and_test

KEPT = ("test_accuracy", "best_valid_accuracy", "best_epoch", "epochs", "seconds")


def fingerprint(config: TrialConfig) -> str:
    """Returns what changes whenever a run would."""
    return hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


def measure(config: TrialConfig, cache: Path) -> dict[str, Any]:
    """Trains and tests a configuration with one thread; the cache is shared by all methods and processes."""
    report = train_and_test(config, compute=Compute(threads=1, device="cpu"), cache=FeatureCache(cache)).result
    return {name: report[name] for name in KEPT}


def finished(file: Path) -> dict[str, dict[str, Any]]:
    """Returns what has been measured, by fingerprint."""

    def runs() -> Iterator[dict[str, Any]]:
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                run = json.loads(line)
            except json.JSONDecodeError:
                print(f"{file}: a line is torn; its run is done again: {line[:60]}")
                continue
            yield run

    return {run["fingerprint"]: run for run in runs()}


def run_missing(configs: Mapping[Cell, TrialConfig], file: Path, *, cache: Path, processes: int) -> None:
    """Measures what has not been measured, and appends it to a file, line by line."""
    there = finished(file)
    missing = {cell: config for cell, config in configs.items() if fingerprint(config) not in there}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool, file.open("a") as lines:
        if file.stat().st_size > 0 and not file.read_bytes().endswith(b"\n"):
            lines.write("\n")  # a torn line must not swallow the one after it
        futures = {pool.submit(measure, config, cache): cell for cell, config in missing.items()}
        for number, future in enumerate(as_completed(futures), 1):
            cell, figures = futures[future], future.result()
            run = {**vars(cell), "fingerprint": fingerprint(configs[cell]), **figures}
            lines.write(json.dumps(run) + "\n")
            lines.flush()
            print(f"{number}/{len(missing)} {json.dumps(run)}", flush=True)
