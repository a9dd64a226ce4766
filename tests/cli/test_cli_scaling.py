"""The commands that take a study to more processes and machines, as a user types them."""

import json
from pathlib import Path

import pytest

from pipeline.core.workspace import Workspace
from pipeline.space.files import load_space
from pipeline.storage.open import open_storage
from pipeline.study.creation import create_or_resume
from tests.conftest import Cli


@pytest.fixture
def url(space_file: Path, workspace: Path) -> str:
    """A storage that a machine elsewhere has put a study into: six trials, and none has run."""
    url = f"sqlite:///{workspace / 'shared.db'}"
    file = load_space(str(space_file))
    create_or_resume(open_storage(url), "small", file.study, file.space)
    return url


def test_a_worker_needs_a_url_and_no_space_file(cli: Cli, url: str, workspace: Path, tmp_path: Path) -> None:
    done = cli("worker", "small", "--storage", url, "--workspace", workspace, "--threads", 1, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["trials"]["complete"], summary["num_left"]) == (6, 0)
    assert f"dnntune best small --workspace {workspace} --storage {url}" in done.stderr
    again = cli("worker", "small", "--storage", url, "--workspace", workspace, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout.splitlines()[-1])["trials"] == summary["trials"]


def test_a_worker_of_a_study_that_is_not_there(cli: Cli, url: str, workspace: Path) -> None:
    done = cli("worker", "smal", "--storage", url, "--workspace", workspace)
    assert done.returncode == 2
    assert "no study named smal in this storage. Did you mean small?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_of_ray_needs_ray(cli: Cli, space_file: Path, workspace: Path) -> None:
    done = cli("run", space_file, "--workspace", workspace, "--ray-address", "auto")
    assert done.returncode == 2
    assert "--ray-address auto needs --launcher ray; this run has --launcher local" in done.stderr
    assert not Path(Workspace(workspace).storage_url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--retries", "-1"), "--retries -1"),
        (("--trial-timeout", "0"), "--trial-timeout 0"),
        (("--trial-memory", "-2"), "--trial-memory -2"),
    ],
)
def test_limits_must_make_sense(
    cli: Cli, space_file: Path, workspace: Path, option: tuple[str, str], message: str
) -> None:
    done = cli("run", space_file, "--workspace", workspace, *option)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
