"""One process at a time writes what has ended into MLflow, of all that run a study, on one machine or several."""

import time
import uuid

import optuna

# A holder that is silent for so long has died; clocks of machines may differ by less.
LEASE_SECONDS = 20.0
# Two that find no holder both write their names; after so long both see whose stayed.
SETTLE_SECONDS = 0.3


class Lease:
    """The right to write, kept in the study's storage.

    It is a promise among processes that behave: a holder that was stopped for long may find itself beside another one.
    Both then write the same, and of two runs of one trial `Mirror.look` leaves one.

    Args:
        study: The study.
        what: What is written to: each tracking store has a lease of its own.
        holder: Who holds it: a process that takes a dead one's place goes by that one's name. None for a new name.
    """

    def __init__(self, study: optuna.Study, what: str, holder: str | None = None) -> None:
        self.study, self.key, self.name = study, f"mlflow_writer_{what}", holder or uuid.uuid4().hex
        self.is_held = False
        self.ask_again = 0.0  # by the monotonic clock

    def hold(self) -> bool:
        """Takes the lease, or keeps it; returns whether it is held. To be called every few seconds."""
        if time.monotonic() < self.ask_again:
            return self.is_held
        holder, until = self.study.user_attrs.get(self.key, (None, 0.0))
        if holder != self.name and until > time.time():
            self.is_held = False
        else:
            self.study.set_user_attr(self.key, (self.name, time.time() + LEASE_SECONDS))
            if holder != self.name:
                time.sleep(SETTLE_SECONDS)
            self.is_held = self.study.user_attrs[self.key][0] == self.name
        self.ask_again = time.monotonic() + (LEASE_SECONDS / 4 if self.is_held else 1.0)
        return self.is_held

    def seize(self) -> None:
        """Takes the lease from whoever has it: one that is known to be dead."""
        self.study.set_user_attr(self.key, (self.name, time.time() + LEASE_SECONDS))
        self.ask_again = 0.0

    def ask_now(self) -> bool:
        """Takes the lease, or keeps it, however short ago it was asked for."""
        self.ask_again = 0.0
        return self.hold()

    def release(self) -> None:
        """Lets another process have it at once."""
        if self.is_held and self.study.user_attrs[self.key][0] == self.name:
            self.study.set_user_attr(self.key, (None, 0.0))
        self.is_held = False
