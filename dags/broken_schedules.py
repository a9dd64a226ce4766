"""An import error for all schedules that have mistakes, in a file of its own.

Airflow switches off every DAG of a file that cannot be imported. Were the error raised in `tuning.py`, a slip in one
schedule would stop the runs of all the others.
"""

from airflow.sdk.exceptions import AirflowException
from dnntune_chain.command import schedule_files, show

mistakes = show(schedule_files())[1]
if mistakes:
    raise AirflowException(mistakes.strip())
