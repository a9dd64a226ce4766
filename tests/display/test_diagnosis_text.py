"""What diagnose prints: the layers, the verdict, and remedies as options that can be pasted."""

import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.analysis.diagnosis import Diagnosis, TriedRemedy
from pipeline.analysis.remedies import remedies
from pipeline.config.trial import TrialConfig
from pipeline.display.diagnosis_text import diagnosis_lines, diagnosis_table, settings_text
from pipeline.records.results import LayerFlow, Verdict, VerdictLabel
from pipeline.space.files import configuration_text, load_configuration
from pipeline.space.overrides import Override
from tests.analysis.diagnosed import EVERY_CONFIG, EVERY_WORD, SIGMOID, make


def pasted(options: str) -> list[Override]:
    """Reads options as a shell would, and then dnntune."""
    parts = shlex.split(options)
    assert parts[::2] == ["--set"] * (len(parts) // 2)
    return [Override.parse(part) for part in parts[1::2]]


def _layer(number: int, saturated: float | None) -> LayerFlow:
    return LayerFlow(number, f"{number}", 1.0, 10.0**number, 1e-3, 0.5, 0.1, saturated=saturated)


def test_a_person_reads_the_layers_and_what_helps() -> None:
    config = make(model=SIGMOID)
    tried = tuple(TriedRemedy(remedy, Verdict("healthy", "well"), 0.5) for remedy in remedies(config, "vanishing"))
    layers = (_layer(1, 0.25), _layer(2, 0.0), _layer(3, None))
    found = Diagnosis("sigmoid", 20, layers, Verdict("vanishing", "lost on the way"), 2.5, 2.25, ("look there",), tried)
    console = Console(file=io.StringIO(), width=180)
    console.print(diagnosis_table(found))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "saturated" in shown
    assert "dead" not in shown
    rows = [line.replace("│", " ").split() for line in shown.splitlines() if "e-03" in line]
    assert [row[0] for row in rows] == ["1", "2", "output"]
    assert rows[0][1:3] == ["1.0e+01", "1.0e-01"]  # the gradient, and its share of the last hidden layer's
    first, losses, finding, heading, *others = diagnosis_lines(found)
    assert first == "vanishing: sigmoid: lost on the way"
    assert losses == "training loss 2.5 at first, 2.25 at last"
    assert (finding, heading) == ("look there", "what helps, tried for as many steps:")
    for each in tried:
        assert f"  {settings_text(each.remedy)}    # {each.remedy.reason}" in others
    assert others.count("      healthy (well), training loss 0.5") == len(tried) > 0
    healthy = Diagnosis("relu", 20, layers, Verdict("healthy", "well"), None, None, (), ())
    assert list(diagnosis_lines(healthy)) == ["healthy: relu: well"]


@EVERY_WORD
@EVERY_CONFIG
def test_pasted_options_are_the_remedy(tmp_path: Path, config: TrialConfig, word: VerdictLabel) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(configuration_text(config))
    for remedy in remedies(config, word):
        assert load_configuration(str(file), pasted(settings_text(remedy))) == config.replaced(remedy.settings)


@pytest.mark.parametrize(
    ("space", "word"),
    [
        ("{data: {kind: digits}, model: {width: [9, 8, 7, 6, 5, 4], activation: tanh}}", "vanishing"),
        ("{data: {kind: digits}}", "diverged"),
        ("{data: {kind: digits}, optimizer: sgd}", "diverged"),
    ],
    ids=["widths", "default optimizer", "bare optimizer"],
)
def test_pasted_options_fit_a_short_file(tmp_path: Path, space: str, word: VerdictLabel) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"space: {space}\n")
    config = load_configuration(str(file))
    for remedy in remedies(config, word):
        assert load_configuration(str(file), pasted(settings_text(remedy))) == config.replaced(remedy.settings)
