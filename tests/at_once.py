"""Runs a function in several processes at the same time."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any


def start_processes(target: Callable[..., None], *arguments: Any, number: int) -> list[BaseProcess]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=arguments, daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    return processes


def assert_all_succeed(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def at_once(target: Callable[..., None], *arguments: Any, number: int) -> None:
    """Runs them to their ends; none may fail."""
    assert_all_succeed(start_processes(target, *arguments, number=number))
