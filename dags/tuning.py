"""A DAG for each schedule in `schedules/`: check, prepare, worker (N at once), finalize, register, report, clean.

Set in the environment of Airflow's processes:

- `DNNTUNE_BIN`: the path of the dnntune command (default: dnntune, on PATH);
- `DNNTUNE_SCHEDULES`: the schedules' folder (default: schedules, beside this file);
- `DNNTUNE_FOLDER`: where the command runs: relative paths in schedules count from it (default: the folder above);
- `DNNTUNE_POOL`: Airflow's pool that limits how much is trained at once (default: default_pool);
- `DNNTUNE_WEBHOOK`, `DNNTUNE_MAIL_TO`: who is told, see `dnntune_chain/notices.py`.

A schedule with a mistake has no DAG, and does not hold up the others: `broken_schedules.py` is the import error.
"""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, CronTriggerTimetable, Param, TriggerRule, get_parsing_context, task
from dnntune_chain.command import SCHEDULES, schedule_files, show
from dnntune_chain.notices import tell_champion, tell_failure
from dnntune_chain.steps import ReportStep, Step

POOL = os.environ.get("DNNTUNE_POOL", "default_pool")
EACH_TASK = {"retries": 2, "retry_delay": timedelta(seconds=30), "on_failure_callback": tell_failure}
# What a run by hand may change, each with its rule in JSON Schema and its description.
PARAMS: dict[str, dict[str, Any]] = {
    "trials": {
        "type": ["null", "integer"],
        "minimum": 1,
        "description": "Trials of the study; empty: as the search space says.",
    },
    "timeout": {
        "type": ["null", "number"],
        "exclusiveMinimum": 0,
        "description": "Seconds after which workers take no more trials; empty: as the search space says.",
    },
    "workers": {"type": "integer", "minimum": 1, "maximum": 256, "description": "Worker tasks at once."},
    "set": {
        "type": "array",
        "items": {"type": "string", "pattern": "^[^=]+=.+$"},
        "description": "Settings in place of the search space's, a line each: path=value.",
    },
    "champion": {
        "type": ["null", "string"],
        "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$",
        "description": "The registered model that the result challenges; empty: nothing is registered.",
    },
}


def tuning_dag(schedule: dict[str, Any]) -> DAG:
    """Returns a schedule's DAG.

    Args:
        schedule: The settings, as ``dnntune schedule-show`` prints them.
    """
    name = schedule["name"]
    file: dict[str, Any] = {"schedule_file": str(SCHEDULES / f"{name}.yaml")}
    with DAG(
        dag_id=name,
        description=f"Tunes {schedule['space']}, and lets the best one challenge {schedule['champion'] or 'nobody'}.",
        schedule=beginning(schedule),
        catchup=False,
        max_active_runs=1,
        params={key: Param(schedule[key], title=key, **rule) for key, rule in PARAMS.items()},
        default_args=EACH_TASK,
        tags=["dnntune"],
        doc_md=__doc__,
    ) as dag:
        numbers = task(worker_numbers)()
        worker = Step.partial(
            task_id="worker", step="worker", pool=POOL, map_index_template="worker {{ task.number }}", **file
        ).expand(number=numbers)
        # A worker that is lost costs time, and not the result: the others have run the trials.
        some_worker = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
        finalize = Step(task_id="finalize", step="finalize", pool=POOL, trigger_rule=some_worker, **file)
        register = Step(task_id="register", step="register", on_success_callback=tell_champion, **file)
        report = ReportStep(task_id="report", step="report", outlets=[Asset(f"dnntune://{name}")], **file)
        check, prepare, clean = (Step(task_id=step, step=step, **file) for step in ("check", "prepare", "clean"))
        check >> prepare >> numbers >> worker >> finalize >> register >> report >> clean
    return dag


def beginning(schedule: dict[str, Any]) -> CronTriggerTimetable | list[Asset] | None:
    """Returns when a run begins: at a time, when an asset has been updated, or by hand alone.

    A schedule that is switched on waits for its next time: Airflow's own reading of a cron text would begin with the
    last one, which may be days ago.
    """
    if schedule["cron"] is not None:
        return CronTriggerTimetable(schedule["cron"], timezone="UTC", run_immediately=False)
    return None if schedule["asset"] is None else [Asset(schedule["asset"])]


def worker_numbers(params: dict[str, Any]) -> list[int]:
    """Returns the numbers of a run's workers: one task is made for each."""
    return list(range(1, params["workers"] + 1))


# A task's process reads this file too: it needs its own DAG alone.
asked = get_parsing_context().dag_id
for shown in show([SCHEDULES / f"{asked}.yaml"] if asked else schedule_files())[0]:
    tuning_dag(shown)
