"""`train`: one configuration, epoch by epoch."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.api.sources import Config, Plugins, Settings, read_configuration, use_plugins, workspace_of
from pipeline.core.compute import Compute
from pipeline.core.names import check_name
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.evaluation.train_and_test import MeasuredTraining


def train(
    config: Config,
    *,
    overrides: Settings | None = None,
    plugins: Plugins = (),
    mc_samples: int | None = None,
    export: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: str = "auto",
    workspace: str | os.PathLike[str] | Workspace = "runs",
    progress: bool = True,
) -> "MeasuredTraining":
    """Trains one configuration and measures it on the test set: what `dnntune train` does.

    Args:
        config: A configuration file, the name of one that comes with dnntune, the same in plain values, or
            ``study.best.config``.
        overrides: Settings that replace the configuration's, by path.
        plugins: Files and modules that add kinds.
        mc_samples: Also measures it with so many passes of Monte Carlo dropout.
        export: Also exports it, to this new folder.
        threads: Threads; None for PyTorch's choice.
        device: auto, cpu, cuda or cuda:N.
        workspace: Where the output of frozen layers is kept: a folder, or a `Workspace`.
        progress: Whether to say on standard error what takes long, and what makes the figures doubtful.

    Returns:
        An iterable of epochs (`dnntune.events.EpochResult`), which trains as it is iterated; its ``result`` trains what
        is left and measures, and is what `dnntune train --json` prints.

    Raises:
        SpaceError: The configuration is wrong, or leaves something to search.
        DnntuneError: The data or the device cannot be used, or the training diverges.

    Example:
        >>> training = dnntune.train("lecture_mlp")
        >>> for epoch in training:
        ...     losses.append(epoch.train_loss)
        >>> training.result["test_accuracy"]
    """
    use_plugins(plugins)
    trial = read_configuration(config, overrides)
    place, compute = workspace_of(workspace), Compute(threads=threads, device=device)
    folder = None if export is None else Path(export)
    if folder is not None:
        check_name(folder.name, "an export's folder")
    from pipeline.setup.preflight import check_ready

    check_ready(lambda paths: [trial], compute.device)
    from pipeline.data.feature_cache import FeatureCache, ignore
    from pipeline.evaluation.train_and_test import train_and_test

    notify = partial(print_line, err=True) if progress else ignore
    return train_and_test(
        trial,
        data_dir=place.data_dir,
        compute=compute,
        mc_samples=mc_samples,
        cache=FeatureCache(place.feature_cache, notify=notify),
        notify=notify,
        export=folder,
    )
