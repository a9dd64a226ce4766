"""What `dnntune diagnose` prints."""

import shlex
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from pipeline.analysis.diagnosis import Diagnosis
from pipeline.analysis.remedies import Remedy
from pipeline.records.verdict import hidden_layers
from pipeline.space.distributions import format_value


def diagnosis_table(diagnosis: Diagnosis) -> Table:
    """Returns the layers as a table for the terminal."""
    table = Table(title=f"{diagnosis.network}: {diagnosis.num_steps} steps", title_justify="left")
    shares = [
        name for name in ("dead", "saturated") if any(getattr(layer, name) is not None for layer in diagnosis.layers)
    ]
    for name in ("layer", "gradient", "of the last", "weight gradient", "update/weight", "mean", "std", *shares):
        table.add_column(name, justify="right")
    last = hidden_layers(diagnosis.layers)[-1].gradient if diagnosis.layers else 0.0
    for layer in diagnosis.layers:
        is_output = layer is diagnosis.layers[-1] and len(diagnosis.layers) > 1
        relative = "" if is_output or last == 0.0 else f"{layer.gradient / last:.1e}"
        figures = [f"{layer.gradient:.1e}", relative, f"{layer.weight_gradient:.1e}", f"{layer.update_ratio:.1e}"]
        figures += [f"{layer.mean:.2g}", f"{layer.std:.2g}"]
        figures += ["" if (share := getattr(layer, name)) is None else f"{share:.0%}" for name in shares]
        table.add_row("output" if is_output else str(layer.layer), *figures)
    return table


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Writes the verdict, what else was found, and what helps."""
    yield f"{diagnosis.verdict.label}: {diagnosis.network}: {diagnosis.verdict.text}"
    if diagnosis.first_loss is not None and diagnosis.last_loss is not None:
        yield f"training loss {diagnosis.first_loss:.3g} at first, {diagnosis.last_loss:.3g} at last"
    yield from diagnosis.findings
    if diagnosis.tried:
        yield "what helps, tried for as many steps:"
    for tried in diagnosis.tried:
        loss = "" if tried.loss is None else f", training loss {tried.loss:.3g}"
        found = f"{tried.verdict.label} ({tried.verdict.text}){loss}"
        yield f"  {settings_text(tried.remedy)}    # {tried.remedy.reason}"
        yield f"      {found}"


def settings_text(remedy: Remedy) -> str:
    """Writes a remedy as options of the command line."""
    return " ".join(f"--set {_option(path, value)}" for path, value in remedy.settings.items())


def _option(path: str, value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{name}: {format_value(each)}" for name, each in value.items())
        return shlex.quote(f"{path}={{{inner}}}")
    return shlex.quote(f"{path}={'null' if value is None else format_value(value)}")
