"""Tuning again and again: one study a run, from what the last ones have learned to a challenger of the champion.

`pipeline.scheduling.steps` is the chain of steps. ``dnntune schedule-once`` runs it in one process, ``dags/tuning.py``
as tasks of Airflow, each by ``dnntune schedule-step``.
"""
