"""`tune` and `check`: a study from its space to its last trial, in one call."""

import os
from collections.abc import Sequence

from pipeline.api.sources import Plugins, Settings, Space, read, use_plugins, workspace_of
from pipeline.api.study import Study
from pipeline.api.watching import Callback, check_end, watched
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.space.files import SpaceFile


def tune(
    space: Space,
    *,
    name: str | None = None,
    trials: int | None = None,
    timeout: float | None = None,
    seed: int | None = None,
    overrides: Settings | None = None,
    plugins: Plugins = (),
    workers: int = 1,
    threads: int | None = None,
    device: str = "auto",
    workspace: str | os.PathLike[str] | Workspace = "runs",
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> Study:
    """Runs, resumes or joins a study, and returns it: what `dnntune run` does, with the same trials.

    No ``if __name__ == "__main__"`` is needed: workers do not import the program that calls this. Ctrl-C, or a
    notebook's "interrupt kernel", stops after the current epoch; the same call, or `Study.resume`, goes on from there.

    Args:
        space: A search-space file; the name of one that comes with dnntune; the same in plain values (a dict, in which
            Optuna's distributions may stand for ranges); or what `check` returns.
        name: The study's name; None for what the space says, or else its file's name.
        trials: The total number of trials; None for what the space says.
        timeout: Stops this call after so many seconds.
        seed: Seed of the sampler.
        overrides: Settings that replace the space's, by path: ``{"data.path": "images", "optimizer.kind": "sgd"}``.
        plugins: Files and modules that add kinds: models, losses, metrics and others.
        workers: Worker processes.
        threads: Threads of each; None for an equal share of the cores.
        device: auto, cpu, cuda or cuda:N.
        workspace: Where it is kept: a folder, or a `Workspace`.
        progress: Whether to show what happens on standard error: live on a terminal, in lines elsewhere.
        callbacks: Each is called with every event: `dnntune.events.TrialStarted`, ``EpochEnded``, ``TrialEnded`` and
            others. What one raises ends the study, which can be resumed.

    Returns:
        The study.

    Raises:
        SpaceError: The space is wrong; with every problem.
        DnntuneError: The data or the device cannot be used, or trials keep failing; see `dnntune.errors`.
        KeyboardInterrupt: The user has stopped it.

    Example:
        >>> study = dnntune.tune("digits_mlp", trials=20, workers=2)
        >>> study.best.value
    """
    from pipeline.workers.run import run_study

    use_plugins(plugins)
    file = read(space, name=name, overrides=overrides, trials=trials, timeout=timeout, seed=seed)
    place = workspace_of(workspace)
    with watched(file.study.metric, progress=progress, callbacks=callbacks) as observer:
        for notice in file.notices:
            observer.notify(notice)
        summary = run_study(
            file.space,
            file.study,
            name=file.name,
            workspace=place,
            compute=Compute(workers, threads, device),
            observer=observer,
        )
    check_end(summary)
    return Study(file.name, place)


def check(
    space: Space,
    *,
    name: str | None = None,
    overrides: Settings | None = None,
    plugins: Plugins = (),
    device: str = "auto",
    data_dir: str | None = None,
) -> SpaceFile:
    """Checks a space, and whether this machine can run it, its data included; runs nothing.

    Returns:
        The space, which `tune` takes.

    Raises:
        SpaceError: The space is wrong; with every problem.
        DnntuneError: The data or the device cannot be used.

    Example:
        >>> dnntune.check("digits_mlp").space.parameters()
    """
    from pipeline.setup.preflight import check_ready, prove_built_in

    use_plugins(plugins)
    file = read(space, name=name, overrides=overrides)
    check_ready(file.space.boundary_configs, device)
    for notice in prove_built_in(file.space.boundary_configs, data_dir):
        file = SpaceFile(file.name, file.study, file.space, (*file.notices, notice))
    return file
