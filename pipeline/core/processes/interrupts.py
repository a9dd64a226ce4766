"""Ctrl-C and SIGTERM: the first one asks a program to stop, the second one ends it, wherever it is.

Python runs a handler only between two steps of its main thread, and a database, a drawing or an import can keep that
busy for seconds. So a thread hears the signals, too (`signal.set_wakeup_fd`): it answers on the terminal at once, and
ends the process itself if the second signal has not done so in time.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from pipeline.core.printing import print_line
from pipeline.core.processes.process_tree import signal_descendants

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# The same wish, told twice: `timeout` signals its child and then the group that the child is in.
SAME_SECONDS = 0.25
# How long the program has after the second signal to put down what it has in its hands.
END_SECONDS = 1.5
# After which a KeyboardInterrupt that was lost is raised again.
AGAIN_SECONDS = 0.05
# How long a program that ends waits for its answer to be said.
SAY_SECONDS = 1.0
AGAIN = "press Ctrl-C again to stop now"

Stop = Callable[[], None]


class Interrupts:
    """Hears Ctrl-C and SIGTERM while it is installed, which the main thread does.

    The first signal does what the innermost phase says (see `first_stops`), and raises `KeyboardInterrupt` outside of
    all; the second one raises `KeyboardInterrupt` everywhere.

    Args:
        ends: Whether the second signal also ends this process and all below it, `END_SECONDS` later: for a program,
            and not for a library in somebody else's.
    """

    def __init__(self, *, ends: bool) -> None:
        self.ends = ends
        self.number: int | None = None  # the first signal
        self._first: float | None = None
        self._answered = threading.Event()
        self._hurries = False  # after the second signal
        self._lost, self._own = False, 0  # a KeyboardInterrupt that is to be raised again; signals that are our own
        self._phases: list[tuple[str, Stop | None]] = [(f"stopping; {AGAIN}", None)]
        self._message: str | None = None  # of the phase that the first signal met, which may be over when it is said

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C and 143 after SIGTERM, as a shell has them."""
        return 128 + (self.number or signal.SIGINT)

    def end(self, code: int | str | None) -> NoReturn:
        """Ends the process when all is done; after the second signal without the interpreter's own end.

        That may take seconds, in which no thread runs that could cut it short.
        """
        if self._hurries:
            signal_descendants(signal.SIGKILL)
            os._exit(self.exit_code)
        sys.exit(code)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Hears signals while the context lasts."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        thread = threading.Thread(target=self._answer, args=(reading,), name="dnntune-interrupts", daemon=True)
        thread.start()
        before = [signal.signal(number, self._handle) for number in SIGNALS]
        fd_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        hook_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        try:
            yield
        finally:
            sys.unraisablehook = hook_before
            if self.ends and self.number is not None:
                # What is left is the interpreter's own end, which may wait for others: whoever asks again kills it.
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_DFL)
                self._answered.wait(SAY_SECONDS)  # on a busy machine the thread comes later than the exception
            else:
                signal.set_wakeup_fd(fd_before)
                for number, handler in zip(SIGNALS, before, strict=True):
                    signal.signal(number, handler)
                os.close(writing)
                thread.join()
                os.close(reading)

    @contextlib.contextmanager
    def phase(self, message: str, stop: Stop) -> Iterator[None]:
        """What the first signal says and does while the context lasts."""
        self._phases.append((message, stop))
        try:
            yield
        finally:
            self._phases.pop()

    def _unraisable(self, lost: "sys.UnraisableHookArgs") -> None:
        """Raises again what a handler has raised where nothing gets through: in a weak reference's callback, say."""
        if lost.exc_type is KeyboardInterrupt:
            threading.Timer(AGAIN_SECONDS, self._raise_again).start()
        else:
            sys.__unraisablehook__(lost)

    def _raise_again(self) -> None:
        self._lost, self._own = True, self._own + 1
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes it if it waits

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._lost:
            self._lost = False
        elif self._first is None:
            self._first, self.number = now, self.number or number
            self._message, stop = self._phases[-1]
            if stop is not None:
                stop()
                return
        elif now - self._first < SAME_SECONDS:
            return
        else:
            self._hurries = True
        raise KeyboardInterrupt

    def _answer(self, reading: int) -> None:
        first: float | None = None
        while number := os.read(reading, 1):
            if number[0] not in SIGNALS:
                continue
            if self._own:
                self._own -= 1
                continue
            now = time.monotonic()
            if first is None:
                first, self.number = now, self.number or number[0]
                _print(self._message or self._phases[-1][0])
                self._answered.set()
            elif now - first >= SAME_SECONDS:
                _print("stopping now")
                if self.ends:
                    select.select([reading], [], [], END_SECONDS)  # or until the third signal
                    signal_descendants(signal.SIGKILL)
                    os._exit(self.exit_code)


def _print(message: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be there to read it
        print_line(message, err=True)


_current: Interrupts | None = None


@contextlib.contextmanager
def answered(*, ends: bool) -> Iterator[Interrupts]:
    """Hears Ctrl-C and SIGTERM while the context lasts; in the main thread. See `Interrupts`."""
    global _current
    assert _current is None
    _current = Interrupts(ends=ends)
    try:
        with _current.installed():
            yield _current
    finally:
        _current = None


@contextlib.contextmanager
def first_stops(stop: Stop, message: str) -> Iterator[None]:
    """Lets the first Ctrl-C or SIGTERM call a function while the context lasts, instead of `KeyboardInterrupt`.

    In another thread than the main one it does nothing: signals are somebody else's business there.

    Args:
        stop: The function; it is called between two steps of the main thread, and only takes note.
        message: What is said at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
    elif _current is not None:
        with _current.phase(message, stop):
            yield
    else:
        with answered(ends=False) as interrupts, interrupts.phase(message, stop):
            yield
