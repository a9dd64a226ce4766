"""How a task's end follows from its command's. The command is a shell script here, which ends as it is told."""

import shlex
from collections.abc import Callable

import pytest

from tests.dags.real_airflow import ROOT, Airflow

Outcome = Callable[..., str]
DO_STEP = """
import threading
from dnntune_chain.steps import Step

step = Step(task_id="worker", step="worker", schedule_file="nightly.yaml")
context = {{"run_id": "scheduled__2026-11-23T03:00:00+00:00", "params": {{"trials": None, "set": ["a=1"]}}}}
killer = threading.Timer({seconds}, step.on_kill)
killer.daemon = True
killer.start()
try:
    print(step.execute(context))
except Exception as error:
    print(type(error).__name__, *str(error).splitlines(), sep="; ")
"""


LOG_STEP = """
from dnntune_chain.steps import Step

step = Step(task_id="worker", step="worker", schedule_file="a$(touch X);b.yaml")
addresses = {"storage": "postgresql+psycopg://me:Xq7/m@r k@db/x?sslmode=require&password=Xq7", "set": ["a b=*"]}
step.execute({"run_id": "x", "params": addresses})
"""


@pytest.fixture
def outcome(airflow: Airflow) -> Outcome:
    """Does a step by a shell script, and returns what it returned or raised."""

    def do(script: str, killed_after: float = 60.0) -> str:
        command = airflow.write("dnntune", f"#!/bin/bash\n{script}\n")
        command.chmod(0o755)
        airflow.environment |= {"DNNTUNE_BIN": str(command), "PYTHONPATH": str(ROOT / "dags")}
        return airflow.call("-c", DO_STEP.format(seconds=killed_after)).stdout.splitlines()[-1]

    return do


def test_the_last_line_is_the_result(outcome: Outcome) -> None:
    assert outcome("""echo progress >&2; echo words; echo '{"trials": 3}'""") == "{'trials': 3}"


def test_the_command_gets_the_runs_key_and_its_params(outcome: Outcome) -> None:
    said = outcome('echo "$@" >&2; exit 1')
    assert "schedule-step worker nightly.yaml --run scheduled__2026-11-23T03-00-00Z" in said
    assert '--set trials=null --set set=["a=1"]' in said


def test_a_mistake_is_not_tried_again_and_anything_else_is(outcome: Outcome) -> None:
    assert outcome("echo unknown setting >&2; exit 2") == "AirflowFailException; worker ended with 2; unknown setting"
    assert outcome("echo no memory >&2; exit 1") == "AirflowException; worker ended with 1; no memory"


def test_a_task_that_is_ended_by_hand_interrupts_its_command(outcome: Outcome) -> None:
    wait = "trap 'echo gives its trial back >&2; exit 130' TERM; for i in {1..400}; do sleep 0.1; done"
    assert outcome(wait, killed_after=1) == "AirflowException; worker ended with 130; gives its trial back"


def test_the_log_has_the_command_as_it_may_be_typed_without_passwords(airflow: Airflow) -> None:
    airflow.environment["PYTHONPATH"] = str(ROOT / "dags")
    command = airflow.write("dnn tune", "#!/bin/bash\necho {}\n")
    command.chmod(0o755)
    airflow.environment["DNNTUNE_BIN"] = str(command)
    done = airflow.call("-c", LOG_STEP)
    assert "Xq7" not in done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "schedule-step" in line]
    typed = shlex.split(line.partition("] ")[2].partition(" [airflow")[0])
    address = "postgresql+psycopg://me:***@db/x?sslmode=require&password=***"
    expected = [str(command), "schedule-step", "worker", "a$(touch X);b.yaml", "--run", "x"]
    assert typed == [*expected, "--set", f'storage="{address}"', "--set", 'set=["a b=*"]']
