"""Options that a command gets as one value."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cli.groups import group, grouped
from pipeline.cli.options import WholeWorkspace, WorkerCompute, compute_of
from pipeline.core.compute import Compute, Launch
from pipeline.core.errors import DnntuneError
from pipeline.core.workspace import Workspace


def test_a_group_is_its_options_on_the_command_line_and_one_value_in_the_command() -> None:
    got: list[object] = []
    small = typer.Typer()

    @small.command()
    @grouped
    def show(
        first: Annotated[int, typer.Option()] = 1,
        *,
        compute: WorkerCompute,
        last: Annotated[str, typer.Option()] = "z",
        workspace: WholeWorkspace,
    ) -> None:
        got.extend((first, compute, last, workspace))

    done = CliRunner().invoke(small, ["--threads", "2", "--experiment", "e", "--launcher", "ray"])
    assert done.exit_code == 0, done.output
    assert got == [1, Compute(threads=2, launcher=Launch.RAY), "z", Workspace(experiment="e")]
    said = CliRunner().invoke(small, ["--help"]).output
    order = ["--first", "--workers", "--threads", "--device", "--ray-address", "--last", "--workspace", "--data-dir"]
    workspace = [said.index(f"{option} ") for option in order]
    assert workspace == sorted(workspace)


def test_a_group_of_some_options_leaves_the_others_at_their_defaults() -> None:
    got: list[Compute] = []
    small = typer.Typer()

    @small.command()
    @grouped
    def show(*, compute: Annotated[Compute, group(compute_of, "device", "threads")]) -> None:
        got.append(compute)

    assert CliRunner().invoke(small, ["--device", "cpu"]).exit_code == 0
    assert got == [Compute(device="cpu")]
    assert CliRunner().invoke(small, ["--workers", "2"]).exit_code == 2


def test_no_option_is_declared_twice() -> None:
    """Options of one name that say the same are one option."""
    command = typer.main.get_command(app)
    declared: dict[tuple[str, str], set[int]] = {}
    assert isinstance(command, typer.core.TyperGroup)
    for each in app.registered_commands:
        assert each.callback is not None
        for annotation in each.callback.__annotations__.values():
            for option in getattr(annotation, "__metadata__", ()):
                if isinstance(option, typer.models.OptionInfo):
                    key = (str(option.help), str(option.param_decls))
                    declared.setdefault(key, set()).add(id(option))
    assert {key: len(found) for key, found in declared.items() if len(found) > 1} == {}


def test_an_address_of_a_cluster_needs_ray() -> None:
    with pytest.raises(DnntuneError, match="--ray-address auto needs --launcher ray; this run has --launcher local"):
        Compute(ray_address="auto")


def test_what_is_computed_on_is_said_again_without_defaults() -> None:
    assert Compute().options() == {}
    assert Compute(3, 2, "cpu", Launch.RAY, "auto").options() == {
        "workers": 3,
        "threads": 2,
        "device": "cpu",
        "launcher": "ray",
        "ray_address": "auto",
    }
