"""The file of a study's final result."""

import json

from pydantic import ValidationError

from pipeline.core.broken_rule import broken_rule
from pipeline.core.commands import command
from pipeline.core.errors import StudyError
from pipeline.core.filesystem.files import reason, write_whole
from pipeline.core.workspace import Workspace
from pipeline.records.final import FINAL_TYPE, Final


def save_final(workspace: Workspace, final: Final) -> None:
    """Keeps a final result in the workspace, in place of an earlier one."""
    file = workspace.final(final.study)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(final.to_json(), allow_nan=False).encode())


def load_final(workspace: Workspace, study: str) -> Final | None:
    """Returns a study's final result; None if it was not finalized in this workspace.

    Raises:
        StudyError: Its file cannot be read, or says something else; names the file and what is wrong.
    """
    file = workspace.final(study)
    if not file.exists():
        return None
    try:
        return FINAL_TYPE.validate_json(file.read_bytes())
    except OSError as error:
        problem = f"cannot be read: {reason(error)}"
    except ValidationError as error:
        path, rule, _ = broken_rule(error)
        problem = f"is no final result of this version: {path}{': ' if path else ''}{rule}"
    again = command("finalize", study, **workspace.options("workspace", "storage"))
    raise StudyError(f"{file} {problem}. Move it elsewhere and run {again} again")


def final_of(workspace: Workspace, study: str) -> Final:
    """Returns a study's final result.

    Raises:
        StudyError: It was not finalized in this workspace.
    """
    if (final := load_final(workspace, study)) is None:
        raise StudyError(
            f"study {study} has no final result in {workspace.root}. "
            f"Run {command('finalize', study, **workspace.options('workspace', 'storage'))} first"
        )
    return final
