"""Samplers: a row each."""

from collections.abc import Callable
from typing import Any

import numpy as np
from optuna import samplers

from pipeline.config.kinds import built
from pipeline.config.study import SamplerConfig

# From its settings, the study's seed, and the seed of this very trial.
SAMPLERS: dict[str, Callable[[Any, int, int], samplers.BaseSampler]] = {
    "tpe": lambda c, study_seed, trial_seed: samplers.TPESampler(
        seed=trial_seed,
        n_startup_trials=c.startup_trials,
        n_ei_candidates=c.candidates,
        multivariate=True,
        group=True,  # else parameters that hang on a choice are modeled one by one
        constant_liar=True,  # workers do not try what others are trying
    ),
    "gp": lambda c, study_seed, trial_seed: samplers.GPSampler(
        seed=trial_seed, n_startup_trials=c.startup_trials, warn_independent_sampling=False
    ),
    "cmaes": lambda c, study_seed, trial_seed: samplers.CmaEsSampler(
        seed=trial_seed, n_startup_trials=c.startup_trials, sigma0=c.sigma0, warn_independent_sampling=False
    ),
    "qmc": lambda c, study_seed, trial_seed: samplers.QMCSampler(
        qmc_type=c.sequence,
        scramble=True,
        seed=study_seed,  # all workers walk along one sequence
        independent_sampler=samplers.RandomSampler(seed=trial_seed),
        warn_independent_sampling=False,
        warn_asynchronous_seeding=False,
    ),
    "random": lambda c, study_seed, trial_seed: samplers.RandomSampler(seed=trial_seed),
    # A grid is put in the queue as a whole when the study is made; this draws when it is used up.
    "grid": lambda c, study_seed, trial_seed: samplers.RandomSampler(seed=trial_seed),
}


def build_sampler(config: SamplerConfig, *, seed: int, ordinal: int) -> samplers.BaseSampler:
    """Builds the sampler for one trial.

    A sampler's generator is not kept in the storage. Building one for each trial, seeded by the trial's place among
    those drawn, makes a study that is interrupted and resumed draw what it would have drawn, and workers draw apart.

    Args:
        config: Its description.
        seed: The study's seed.
        ordinal: How many trials were drawn before.
    """
    trial_seed = int(np.random.SeedSequence([seed, ordinal]).generate_state(1)[0])
    sampler: samplers.BaseSampler = built(config, seed, trial_seed, returns=samplers.BaseSampler)
    return sampler
