"""Run by Airflow's python, in the environment of `make airflow`: what the DAG folder holds, and runs of its DAGs.

Usage: in_airflow.py folder | run DAG CONF [TIME]. The last line printed is JSON. The folder is Airflow's own setting.
"""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.asset import AssetEvent
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.session import create_session
from sqlalchemy import select


def folder() -> BundleDagBag:
    """Reads the DAG folder as Airflow's processes do."""
    path = Path(conf.get("core", "dags_folder"))
    return BundleDagBag(dag_folder=path, bundle_path=path, bundle_name="dags-folder")


def described(dag: DAG) -> dict[str, Any]:
    """Returns a DAG as Airflow stores it, and which task comes before which."""
    stored = DagSerialization.to_dict(dag)["dag"]
    tasks = {
        task.task_id: {
            "next": sorted(task.downstream_task_ids),
            "pool": task.pool,
            "mapped": task.is_mapped,
            "rule": task.trigger_rule.value,
            "outlets": [asset.uri for asset in task.outlets],
        }
        for task in dag.tasks
    }
    return {
        "tasks": tasks,
        "schedule": stored["timetable"],
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "params": {name: {"value": dag.params[name], **vars(dag.params.get_param(name))} for name in dag.params},
    }


def run(dag: DAG, settings: dict[str, Any], time: datetime | None) -> dict[str, Any]:
    """Goes through a DAG's run in this process; a run of the same time is done again, as if it had been cleared."""
    done = dag.test(run_conf=settings, run_after=time, **({} if time is None else {"logical_date": time}))
    tasks = {
        f"{task.task_id} {task.map_index}" if task.map_index >= 0 else task.task_id: {
            "state": task.state,
            "value": task.xcom_pull(task_ids=task.task_id, map_indexes=task.map_index),
        }
        for task in done.get_task_instances()
    }
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == done.run_id)).all()
        extras = [event.extra for event in events]
    return {"state": done.state, "run_id": done.run_id, "tasks": tasks, "events": extras}


def main(action: str, *arguments: str) -> dict[str, Any]:
    """Does what the command line says."""
    found = folder()
    if action == "folder":
        return {"errors": found.import_errors, "dags": {name: described(dag) for name, dag in found.dags.items()}}
    name, settings, *time = arguments
    return run(found.dags[name], json.loads(settings), datetime.fromisoformat(time[0]) if time else None)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), default=str))
