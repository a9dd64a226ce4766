"""Runs a function in several processes at the same time.

They are forked from the server that workers are forked from: an interpreter of its own would import torch and Optuna
for each of them.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from tests.processes import LONG

PROCESSES = multiprocessing.get_context("forkserver")
PRELOADED = ["pipeline.workers.launchers.fork_server", "pipeline.workers.worker", "pipeline.models.backbones.backbone"]


def start_processes(target: Callable[..., None], *arguments: Any, number: int) -> list[BaseProcess]:
    PROCESSES.set_forkserver_preload(PRELOADED)  # it may be the first to start the server
    processes: list[BaseProcess] = [
        PROCESSES.Process(target=target, args=arguments, daemon=True) for _ in range(number)
    ]
    for process in processes:
        process.start()
    return processes


def assert_all_succeed(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.join(LONG)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def at_once(target: Callable[..., None], *arguments: Any, number: int) -> None:
    """Runs them to their ends; none may fail."""
    assert_all_succeed(start_processes(target, *arguments, number=number))
