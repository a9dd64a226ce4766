"""What Optuna keeps to itself and this program needs: ids, and the storage behind a study.

Its private names are here, elsewhere in `pipeline.storage`, and in `pipeline.search.multi_objective`, and nowhere else:
these are the files to look at when Optuna has a new version.
"""

import optuna
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial


def storage_of(study: optuna.Study) -> BaseStorage:
    """Returns the storage that a study was opened with."""
    return study._storage


def heartbeats_of(study: optuna.Study) -> BaseHeartbeat:
    """Returns a study's storage, which must keep heartbeats."""
    storage = study._storage
    assert isinstance(storage, BaseHeartbeat)
    return storage


def study_id(study: optuna.Study) -> int:
    """Returns by which number a study's storage knows it."""
    return study._study_id


def trial_id(trial: optuna.Trial | FrozenTrial) -> int:
    """Returns by which number the storage knows a trial; its own number counts from 0 in each study."""
    return trial._trial_id
