"""Optimizers, schedules, augmentations, samplers and pruners of a plug-in, by the signatures of docs/plugins.md."""

from pathlib import Path

import optuna
import pytest
import torch

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.loading import load_data
from pipeline.plugins.loading import load_plugins
from pipeline.search.pruners import build_pruner
from pipeline.search.samplers import build_sampler
from pipeline.training.start import start


def test_each_is_built_and_used() -> None:
    load_plugins([Path(__file__).with_name("other_groups.py")])
    config = TrialConfig.model_validate(
        {
            "data": {"kind": "digits"},
            "model": {"width": 8},
            "optimizer": {"kind": "adagrad", "lr": 0.05},
            "schedule": {"kind": "halved"},
            "augment": {"kind": "mirrored"},
            "epochs": 4,
        }
    )
    training = start(config, load_data(config.data))
    rates = [epoch.lr for epoch in training.epochs]
    assert isinstance(training.step.optimizer, torch.optim.Adagrad)
    assert [rates[0], rates[-1]] == pytest.approx([0.05, 0.025])
    study = StudyConfig.model_validate({"sampler": {"kind": "plain"}, "pruner": {"kind": "never"}})
    assert isinstance(build_sampler(study.sampler, seed=0, ordinal=1), optuna.samplers.RandomSampler)
    assert isinstance(build_pruner(study.pruner, max_epochs=4), optuna.pruners.NopPruner)
