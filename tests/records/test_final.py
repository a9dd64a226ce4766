import dataclasses
import json
from pathlib import Path

import pytest

from pipeline.core.errors import StudyError
from pipeline.core.workspace import Places
from pipeline.finalize.final_file import final_of, load_final, save_final
from pipeline.finalize.final_text import final_lines
from pipeline.records.final import Final
from tests.finalize.finals import FINAL


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    places = Places(tmp_path)
    save_final(places, FINAL)
    assert load_final(places, FINAL.study) == FINAL
    assert [file.name for file in places.final(FINAL.study).parent.iterdir()] == ["small.json"]


def test_what_may_be_missing_may_be_missing() -> None:
    bare = dataclasses.replace(FINAL, monte_carlo=None, refit=None, refit_epochs=None, seeds_interval=None)
    assert Final.from_json(json.loads(json.dumps(bare.to_json()))) == bare
    assert not any("Monte Carlo" in line or "refitted" in line for line in final_lines(bare))


def test_without_a_result_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    assert load_final(Places(tmp_path), "small") is None
    with pytest.raises(StudyError, match=r"Run dnntune finalize small --workspace \S+ first"):
        final_of(Places(tmp_path), "small")


def test_the_optimism_of_the_studys_best_value_is_said() -> None:
    text = "\n".join(final_lines(FINAL))
    assert "the study's best value was 0.9600 (trial 3); over fresh seeds that configuration has 0.9200" in text
    assert "chosen by mean validation: trial 1" in text


def test_a_part_that_was_measured_again_is_said_to_be_optimistic() -> None:
    again = "\n".join(final_lines(dataclasses.replace(FINAL, times_measured=3)))
    assert "measured 3 times, which makes it optimistic" in again
