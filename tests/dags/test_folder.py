"""What a real Airflow finds in the folder of DAGs."""

from pathlib import Path

from tests.dags.real_airflow import NIGHTLY, ROOT, Airflow

CHAIN = ["check", "prepare", "worker_numbers", "worker", "finalize", "register", "report", "clean"]


def test_the_projects_own_schedules_become_dags(airflow: Airflow) -> None:
    airflow.environment["DNNTUNE_SCHEDULES"] = str(ROOT / "dags" / "schedules")
    found = airflow.do("folder")
    assert found["errors"] == {}
    assert sorted(found["dags"]) == sorted(file.stem for file in (ROOT / "dags" / "schedules").glob("*.yaml"))


def test_a_dag_is_the_chain_with_as_many_workers_as_asked_for(airflow: Airflow) -> None:
    airflow.write("nightly.yaml", NIGHTLY)
    airflow.environment["DNNTUNE_POOL"] = "tuning"
    dag = airflow.do("folder")["dags"]["nightly"]
    tasks = dag["tasks"]
    assert sorted(tasks) == sorted(CHAIN)
    assert [tasks[task]["next"] for task in CHAIN] == [*([task] for task in CHAIN[1:]), []]
    assert [task for task in CHAIN if tasks[task]["mapped"]] == ["worker"]
    assert [task for task in CHAIN if tasks[task]["pool"] == "tuning"] == ["worker", "finalize"]
    assert tasks["finalize"]["rule"] == "all_done_min_one_success"
    assert [task for task in CHAIN if tasks[task]["outlets"]] == ["report"]
    assert tasks["report"]["outlets"] == ["dnntune://nightly/"]
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)


def test_params_have_the_schedules_values_rules_and_descriptions(airflow: Airflow) -> None:
    airflow.write("nightly.yaml", NIGHTLY + "trials: 7\nset: [epochs=2]\n")
    params = airflow.do("folder")["dags"]["nightly"]["params"]
    values = {name: param["value"] for name, param in params.items()}
    assert values == {"trials": 7, "timeout": None, "workers": 2, "set": ["epochs=2"], "champion": "digits"}
    assert params["workers"]["schema"]["minimum"] == 1
    assert all(param["description"] for param in params.values())


def test_a_run_begins_at_a_time_or_by_an_asset_or_by_hand(airflow: Airflow) -> None:
    beginnings = {
        "preset": "cron: '@weekly'",
        "cron": "cron: '*/15 8-18 1,15 jan-jun MON'",
        "asset": "asset: s3://bucket/images",
        "hand": "cron: null",
    }
    for name, setting in beginnings.items():
        airflow.write(f"{name}.yaml", f"space: ../small.yaml\n{setting}\n")
    found = airflow.do("folder")
    assert found["errors"] == {}
    kinds = {name: dag["schedule"]["__type"].rpartition(".")[2] for name, dag in found["dags"].items()}
    at_a_time = "CronTriggerTimetable"
    assert kinds == {
        "preset": at_a_time,
        "cron": at_a_time,
        "asset": "AssetTriggeredTimetable",
        "hand": "NullTimetable",
    }


def test_a_schedule_with_mistakes_is_an_import_error_with_its_lines_and_holds_up_no_other(airflow: Airflow) -> None:
    airflow.write("good.yaml", NIGHTLY)
    bad = airflow.write("bad.yaml", "space: ../small.yaml\ntrails: 3\nfinals:\n  seeds: 0\n")
    found = airflow.do("folder")
    assert list(found["dags"]) == ["good"]
    assert list(found["errors"]) == [
        "broken_schedules.py"
    ]  # Airflow would switch off every DAG of a file with an error
    assert f"{bad}:2: trails: unknown setting. Did you mean trials?" in found["errors"]["broken_schedules.py"]
    assert f"{bad}:4: finals.seeds: must be greater than 0; got 0" in found["errors"]["broken_schedules.py"]


def test_a_folder_without_schedules_is_no_error(airflow: Airflow) -> None:
    assert airflow.do("folder") == {"errors": {}, "dags": {}}


def test_without_dnntune_the_import_error_says_what_to_set(airflow: Airflow, tmp_path: Path) -> None:
    airflow.write("nightly.yaml", "space: digits_mlp\n")
    airflow.environment["DNNTUNE_BIN"] = str(tmp_path / "dnntune")
    said = airflow.do("folder")["errors"]["tuning.py"]
    assert f"DNNTUNE_BIN must be the path of dnntune; got {tmp_path}/dnntune: No such file" in said
