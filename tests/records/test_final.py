import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.finalize.final_file import final_of, load_final, save_final
from pipeline.records.final import FINAL_TYPE
from pipeline.report.final_text import final_lines
from tests.finalize.finals import FINAL


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_final(workspace, FINAL)
    assert load_final(workspace, FINAL.study) == FINAL
    assert [file.name for file in workspace.final(FINAL.study).parent.iterdir()] == ["small.json"]


def test_what_may_be_missing_may_be_missing() -> None:
    bare = dataclasses.replace(FINAL, monte_carlo=None, refit=None, refit_epochs=None, seeds_interval=None)
    assert FINAL_TYPE.validate_json(json.dumps(bare.to_json())) == bare
    assert not any("Monte Carlo" in line or "refitted" in line for line in final_lines(bare))


def test_without_a_result_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    assert load_final(Workspace(tmp_path), "small") is None
    with pytest.raises(StudyError, match=r"Run dnntune finalize small --workspace \S+ first"):
        final_of(Workspace(tmp_path), "small")


def test_the_optimism_of_the_studys_best_value_is_said() -> None:
    text = "\n".join(final_lines(FINAL))
    assert "the study's best value was 0.9600 (trial 3); with new seeds that configuration has 0.9200" in text
    assert "chosen by validation mean: trial 1" in text


def test_a_part_that_was_measured_again_is_said_to_be_optimistic() -> None:
    again = "\n".join(final_lines(dataclasses.replace(FINAL, times_measured=3)))
    assert "measured 3 times, which makes it optimistic" in again


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda text: text[:-9], "Invalid JSON"),
        (lambda text: text.replace('"threads": ', '"threads": "many", "was": '), "threads: must be a valid integer"),
        (lambda text: text.replace('"num_images": ', '"images": '), "num_images: Field required"),
    ],
)
def test_a_damaged_file_is_named_with_the_rule_and_the_remedy(
    tmp_path: Path, damage: Callable[[str], str], rule: str
) -> None:
    workspace = Workspace(tmp_path)
    save_final(workspace, FINAL)
    file = workspace.final(FINAL.study)
    file.write_text(damage(file.read_text()))
    with pytest.raises(
        StudyError, match=rf"{re.escape(str(file))} is no final result .*{rule}.*dnntune finalize small"
    ):
        load_final(workspace, FINAL.study)
