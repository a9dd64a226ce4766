"""A worker: loads the data once, then runs trials for as long as it is given any."""

import gc

import optuna
import torch
import torch._dynamo  # every optimizer imports it at its first step; better now, while the supervisor prepares

from pipeline.core.errors import DnntuneError
from pipeline.core.filesystem.disk import disk_full
from pipeline.data.feature_cache import FeatureCache
from pipeline.models.build import build_model
from pipeline.records.events import NothingToClaim, Notice, TrialClaimed, WorkerFailed, WorkerReady
from pipeline.records.results import DataSummary
from pipeline.search.multi_objective import MultiObjectiveStudy, MultiObjectiveTrial
from pipeline.search.pruners import build_pruner
from pipeline.search.samplers import build_sampler
from pipeline.setup.device import use_precision
from pipeline.setup.images import prepared
from pipeline.setup.inputs import Inputs
from pipeline.storage.open import RecentTrials, open_storage, quiet_optuna
from pipeline.storage.study_lock import hold_study_lock
from pipeline.study.claims import NoClaim, claim_trial
from pipeline.study.saved_models import SavedModels
from pipeline.study.trials import requeue
from pipeline.workers.limits import Watchdog
from pipeline.workers.objective import StoppedError, run_trial
from pipeline.workers.task import Channel, SupervisorGoneError, Task


def work(task: Task, channel: Channel) -> None:
    """Runs trials until there are no more.

    An error that only the user can mend is reported: no such device or broken data before the first trial, a full disk
    at any time.
    """
    try:
        _work(task, channel)
    except Exception as error:
        if (full := disk_full(error, task.workspace.checkpoints(task.study_name))) is None:
            raise
        channel.emit(WorkerFailed(str(full)))


def _work(task: Task, channel: Channel) -> None:
    quiet_optuna()

    def give_up_if_stopping() -> None:
        if channel.stopping():
            raise StoppedError

    cache = FeatureCache(
        task.workspace.feature_cache, notify=lambda text: channel.emit(Notice(text)), tick=give_up_if_stopping
    )

    try:
        inputs = Inputs(task.compute, data_dir=task.workspace.data_dir, worker=task.worker, is_single=True)
        device = inputs.device
        use_precision(task.example.precision, device)
        if task.backbones:
            from pipeline.models.backbones.backbone import check_backbones  # loads timm, which perceptrons do without

            check_backbones(task.backbones, task.most_unfrozen)
        data = inputs.data(task.example)
        for backbone in task.backbones:
            prepared(backbone, data.train)
        for model in task.models:
            build_model(model, image_shape=data.image_shape, num_classes=data.num_classes)
    except DnntuneError as error:
        channel.emit(WorkerFailed(str(error)))
        return
    channel.emit(
        WorkerReady(
            DataSummary(
                name=task.example.data.kind,
                num_train=len(data.folds[0].train if data.folds else data.train),
                num_valid=len(data.folds[0].valid if data.folds else data.valid),
                num_classes=data.num_classes,
                image_shape=data.image_shape,
                device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
                classes=data.class_counts,
                folds=max(len(data.folds), 1),
            )
        )
    )
    if task.worker == 0:
        for warning in data.warnings:
            channel.emit(Notice(warning))
    # What is loaded by now stays for good: the garbage collector need not walk through it again and again.
    gc.freeze()
    watchdog = Watchdog(channel.emit, task.study.trial_timeout, task.study.trial_memory)
    models = SavedModels(task.workspace.models(task.study_name), task.study.keep_models)
    storage: optuna.storages.BaseStorage | None = None
    with hold_study_lock(task.workspace.lock(task.study_name)) as study_lock:
        study_lock.share()
        while channel.wait_for_trial():  # the study exists once the first trial is given
            storage = storage or RecentTrials(open_storage(task.workspace.storage_url))
            claimed = _claim(storage, task, channel)
            if claimed is None:
                continue
            study, trial = claimed
            watchdog.trial_begins()
            run_trial(
                study,
                trial,
                sample=task.sample,
                settings=task.study,
                load=inputs.data,
                emit=channel.emit,
                stopping=channel.stopping,
                cache=cache,
                checkpoints=task.workspace.checkpoints(task.study_name),
                models=models,
            )
            watchdog.trial_ends()


def _claim(
    storage: optuna.storages.BaseStorage, task: Task, channel: Channel
) -> tuple[optuna.Study, optuna.Trial] | None:
    """Claims a trial and tells the supervisor; returns the study with the trial's sampler, and the trial."""
    claim = claim_trial(optuna.load_study(study_name=task.study_name, storage=storage))
    if isinstance(claim, NoClaim):
        channel.emit(NothingToClaim(claim.complete))
        return None
    study = MultiObjectiveStudy(
        study_name=task.study_name,
        storage=storage,
        sampler=build_sampler(task.study.sampler, seed=task.study.seed, ordinal=claim.ordinal),
        pruner=build_pruner(task.study.pruner, max_epochs=task.example.epochs, num_folds=task.example.data.num_folds),
    )
    try:
        channel.emit(TrialClaimed(claim.number, claim.counted))
    except SupervisorGoneError:
        requeue(study, claim.trial_id)
        raise
    return study, MultiObjectiveTrial(study, claim.trial_id)
