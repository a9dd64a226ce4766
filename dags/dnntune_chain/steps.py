"""Steps of a schedule's chain as tasks: each is one call of ``dnntune schedule-step``, which is safe to repeat."""

import json
import re
import subprocess
from collections import deque
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from dnntune_chain.command import COMMAND, FOLDER, MISTAKE, as_typed

# Lines of what the command has said that an error repeats.
LAST_LINES = 20


class Step(BaseOperator):
    """One step of a schedule's chain.

    Args:
        step: Its name.
        schedule_file: The schedule's path.
        number: Which one of several at once, counted from 1.
        arguments: Those of every operator.
    """

    def __init__(self, *, step: str, schedule_file: str, number: int = 1, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.step = step
        self.schedule_file = schedule_file
        self.number = number
        self.process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Does the step, and returns what the command's last line says.

        Raises:
            AirflowFailException: A mistake that another attempt would meet again.
            AirflowException: The command ended early; another attempt goes on where it stopped.
        """
        command = [COMMAND, "schedule-step", self.step, self.schedule_file, "--run", run_key(context["run_id"])]
        for name, value in context["params"].items():
            command += ["--set", f"{name}={json.dumps(value)}"]
        self.log.info("%s", as_typed(command))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=FOLDER, start_new_session=True
        )
        said: deque[str] = deque(maxlen=LAST_LINES)
        with self.process as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stderr:
                self.log.info("%s", line.rstrip())
                said.append(line)
            output = process.stdout.read()
        if process.returncode != 0:
            failure = AirflowFailException if process.returncode == MISTAKE else AirflowException
            raise failure(f"{self.step} ended with {process.returncode}\n{''.join(said)}")
        last_line: dict[str, Any] = json.loads(output.splitlines()[-1])
        return last_line

    def on_kill(self) -> None:
        """Interrupts the command, which gives back the trial that it is at."""
        if self.process is not None:
            self.process.terminate()


class ReportStep(Step):
    """The step report: what it returns, and what became of the champion, are also the extra of its assets' events."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Does the step, see `Step.execute`."""
        outcome = context["ti"].xcom_pull(task_ids="register")
        result = {**super().execute(context), "registered": outcome}
        for asset in self.outlets:
            context["outlet_events"][asset].extra.update(result)
        return result


def run_key(run_id: str) -> str:
    """Returns the key of a DAG run's study: the same one when the run is cleared.

    ``scheduled__2026-11-23T03:00:00+00:00`` becomes ``scheduled__2026-11-23T03-00-00Z``.
    """
    return re.sub(r"[^\w.-]+", "-", run_id.replace("+00:00", "Z"))
