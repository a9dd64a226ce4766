"""Who is told at a failure and at a new champion.

`DNNTUNE_WEBHOOK` names a connection of type http, to which ``{"text": ...}`` is posted, as chats take it;
`DNNTUNE_MAIL_TO` has addresses, with commas between them, to which the connection smtp_default sends. Without them
nobody is told.
"""

import os

from airflow.sdk import BaseNotifier, Context

FAILED = "dnntune: {{ dag.dag_id }}: {{ ti.task_id }} failed"
FAILED_WHY = "{{ exception }}\n{{ ti.log_url }}"
CROWNED = "dnntune: {{ dag.dag_id }} has a new champion"
CROWNED_WHY = (
    "{% set outcome = ti.xcom_pull(task_ids='register') %}"
    "{{ outcome.model }}, version {{ outcome.version }}: {{ outcome.reason }}\n{{ ti.log_url }}"
)


def notifiers(subject: str, text: str) -> list[BaseNotifier]:
    """Returns what tells everybody who wants to know; its arguments are Jinja's templates."""
    found: list[BaseNotifier] = []
    if connection := os.environ.get("DNNTUNE_WEBHOOK"):
        from airflow.providers.http.notifications.http import HttpNotifier

        found.append(HttpNotifier(http_conn_id=connection, json={"text": f"{subject}\n{text}"}))
    if addresses := os.environ.get("DNNTUNE_MAIL_TO"):
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        page = f"<pre>{{% filter escape %}}{text}{{% endfilter %}}</pre>"
        found.append(SmtpNotifier(to=addresses, subject=subject, html_content=page))
    return found


def tell_failure(context: Context) -> None:
    """Tells that a task has failed for good, and why."""
    for notifier in notifiers(FAILED, FAILED_WHY):
        notifier(context)


def tell_champion(context: Context) -> None:
    """Tells that the step register, which has just ended, has made a new champion; or nothing, if it has not."""
    outcome = context["ti"].xcom_pull(task_ids="register")
    if outcome.get("is_new") and outcome["is_champion"]:
        for notifier in notifiers(CROWNED, CROWNED_WHY):
            notifier(context)
