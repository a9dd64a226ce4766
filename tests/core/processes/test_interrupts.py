"""Programs in processes of their own, as signals are a process's."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.processes import LONG, parents

# Its work is one step of the main thread: no handler runs before its end.
BUSY = """
import hashlib, subprocess
from pipeline.core.processes.interrupts import answered, first_stops
with answered(ends=True), first_stops(lambda: None, "soon"):
    child = subprocess.Popen(["sleep", "300"])
    print(child.pid, flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2 * 10**9)
"""
PATIENT = """
import sys, time
from pipeline.core.processes.interrupts import answered, first_stops
wishes = []
with answered(ends=True) as interrupts:
    try:
        with first_stops(lambda: wishes.append(1), "soon"):
            print("ready", flush=True)
            while not wishes:
                time.sleep(0.01)
            time.sleep(float(sys.argv[1]))
            print(f"{len(wishes)} wish", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
print("end", flush=True)
interrupts.end(interrupts.exit_code)
"""
Program = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def program() -> Any:
    started = []

    def start(text: str, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", text, *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_ends_all_even_in_the_middle_of_a_step(program: Program, number: int, code: int) -> None:
    process = program(BUSY)
    assert process.stdout is not None
    assert process.stderr is not None
    child = int(process.stdout.readline())
    process.send_signal(number)
    assert process.stderr.readline() == "soon\n"  # and not after minutes
    time.sleep(0.4)
    process.send_signal(number)
    assert process.wait(LONG) == code
    assert process.stderr.read() == "stopping now\n"
    assert child not in parents()


def test_outside_of_all_phases_the_first_one_is_enough(program: Program) -> None:
    process = program(PATIENT.replace('with first_stops(lambda: wishes.append(1), "soon")', "if True"), "0")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=LONG)[0] == "interrupted\nend\n"
    assert process.returncode == 130


def test_an_answer_that_comes_late_is_waited_for(program: Program) -> None:
    late = """
import time
from pipeline.core.processes import interrupts
say = interrupts._print
interrupts._print = lambda message: (time.sleep(0.3), say(message))
"""
    process = program(late + PATIENT.replace('with first_stops(lambda: wishes.append(1), "soon")', "if True"), "0")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=LONG)[1] == "stopping; press Ctrl-C again to stop now\n"


def test_an_end_that_waits_for_others_is_cut_short_by_the_second_one(program: Program) -> None:
    process = program("import atexit, time; atexit.register(time.sleep, 600)" + PATIENT, "0")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "1 wish\n"
    assert process.stdout.readline() == "end\n"
    time.sleep(0.4)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG) == -signal.SIGTERM  # 143, in a shell's words


def test_what_is_raised_where_nothing_gets_through_is_raised_again(program: Program) -> None:
    text = """
import sys, time, weakref
from pipeline.core.processes.interrupts import answered
def callback(_):
    print("ready", flush=True)
    time.sleep(600)
with answered(ends=True) as interrupts:
    try:
        things = {1}
        reference = weakref.ref(things, callback)
        del things
        time.sleep(600)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
interrupts.end(interrupts.exit_code)
"""
    process = program(text)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=LONG) == ("interrupted\n", "stopping; press Ctrl-C again to stop now\n")
    assert process.returncode == 130


def test_a_phase_is_asked_to_stop_and_ends_by_itself(program: Program) -> None:
    process = program(PATIENT, "0")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=LONG) == ("1 wish\nend\n", "soon\n")
    assert process.returncode == 143


def test_two_signals_at_once_are_one_wish(program: Program) -> None:
    """`timeout` sends them so."""
    process = program(PATIENT, "0.5")
    assert process.stdout is not None
    process.stdout.readline()
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):  # both come as it goes on
        process.send_signal(number)
    assert process.communicate(timeout=LONG) == ("1 wish\nend\n", "soon\n")


def test_a_phase_that_does_not_end_is_interrupted_by_the_second_one(program: Program) -> None:
    process = program(PATIENT, "600")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "soon\n"
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    assert process.wait(LONG) == 130


def test_after_the_second_signal_the_interpreters_own_end_is_left_out(program: Program) -> None:
    long_end = """
import hashlib
class Slow:
    def __del__(self):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2 * 10**9)
slow = Slow()
"""
    process = program(long_end + PATIENT, "600")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "soon\n"
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    assert process.wait(LONG) == 130
