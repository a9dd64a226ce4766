"""The chain of a schedule's run: check, prepare, worker, finalize, register, report, clean.

Each step takes the run and nothing else: what it needs of the steps before it is in the study's storage. So each may be
done in a process of its own, on any machine that shares the workspace, and done again.
"""

import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pipeline.config.study import StudyConfig
from pipeline.core.errors import StudyError
from pipeline.core.filesystem.folders import use_workspace
from pipeline.scheduling.run import ScheduledRun, mark, studies_of
from pipeline.scheduling.warm_start import warm_start
from pipeline.storage.open import open_existing, open_storage, quiet_optuna, study_names
from pipeline.study.attributes import DATA_PROFILE, METRICS, SCHEDULE, SPACE
from pipeline.study.creation import create_or_resume
from pipeline.study.studies import load_study
from pipeline.study.summary import best_of

if TYPE_CHECKING:
    from pipeline.workers.session import StudyObserver

Notify = Callable[[str], None]
Step = Callable[[ScheduledRun, Notify], dict[str, Any]]
# Opens, for a metric, what is told of trials and epochs.
OpenObserver = Callable[[str], "AbstractContextManager[StudyObserver]"]


def check(run: ScheduledRun, notify: Notify) -> dict[str, Any]:
    """Proves that a run can work: space, data, device, storage, tracking store.

    Raises:
        DnntuneError: Something is wrong; says what.
    """
    from pipeline.scheduling.drift import data_profile
    from pipeline.setup.device import choose_device
    from pipeline.tracking.store import open_store

    file, workspace = run.file.space(), run.file.workspace
    for notice in file.notices:
        notify(notice)
    quiet_optuna()
    use_workspace(workspace.root)
    open_storage(workspace.storage_url)
    open_store(workspace)
    choose_device(run.file.schedule.device)
    profile = data_profile(next(file.space.boundary_configs([])), workspace.data_dir)
    notify(f"{file.name}: {len(file.space.parameters())} parameters, {profile['images']:,} images: ready")
    return {"space": file.name, "images": profile["images"]}


def prepare(run: ScheduledRun, notify: Notify) -> dict[str, Any]:
    """Makes the run's study, beginning with what the schedule's last studies have found; or finds it.

    A study keeps its space: where that has changed since the run was prepared first, a new study is made.

    Raises:
        DnntuneError: The space is wrong, or the data or the storage cannot be used.
    """
    from pipeline.scheduling.drift import data_profile, drift

    quiet_optuna()
    file, workspace, schedule = run.file.space(), run.file.workspace, run.file.schedule
    use_workspace(workspace.root)
    storage = open_storage(workspace.storage_url)
    earlier = studies_of(storage, run.file.name)
    taken = study_names(storage)
    for name in run.study_names():
        if name not in taken or load_study(storage, name).user_attrs.get(SPACE) == file.space.definition:
            break
        notify(f"study {name} searches another space: a study keeps its space, so that its trials remain comparable")
    profile = data_profile(next(file.space.boundary_configs([])), workspace.data_dir)
    others = [study for study in reversed(earlier) if study.study_name != name]
    notify(drift(profile, others[0].user_attrs[DATA_PROFILE] if others else None))
    settings = file.study
    if name in taken and METRICS in (study := load_study(storage, name)).user_attrs:
        begun = StudyConfig.model_validate(study.user_attrs["settings"])
        settings = settings.model_copy(update={"baselines": begun.baselines})
        notify(f"study {name} exists already, and is resumed")
    else:
        options = schedule.warm_start
        points, num_left_out = warm_start(file.space, others[: options.studies], options.configurations)
        settings = settings.model_copy(update={"baselines": (*points, *settings.baselines)})
        fit = f"{len(points)} configurations of earlier studies; {num_left_out} others do not fit its space"
        notify(f"study {name} starts with {fit}")
    study = create_or_resume(storage, name, settings, file.space)
    if SCHEDULE not in study.user_attrs:
        mark(study, run, profile)
    return {"study": name, "baselines": len(settings.baselines)}


def worker(
    run: ScheduledRun, _notify: Notify, *, workers: int = 1, open_observer: OpenObserver | None = None
) -> dict[str, Any]:
    """Runs trials of the run's study until it has them all, or the schedule's time is over.

    Args:
        run: The run.
        _notify: Not needed: the observer is told what happens.
        workers: How many trials run at once.
        open_observer: Opens what is told of trials and epochs; None for nothing.

    Raises:
        DnntuneError: See `run_study`.
    """
    from pipeline.workers.run import join_study

    study = run.study()
    with nullcontext() if open_observer is None else open_observer(study.user_attrs[METRICS][0]) as observer:
        summary = join_study(
            study.study_name,
            workspace=run.file.workspace,
            compute=dataclasses.replace(run.file.compute, workers=workers),
            observer=observer,
        )
    if summary.interrupted:
        raise KeyboardInterrupt
    return {"study": summary.study, "trials": summary.trials, "left": summary.num_left}


def finalize(run: ScheduledRun, notify: Notify) -> dict[str, Any]:
    """Trains the best configurations over fresh seeds, and measures the chosen one on the test set.

    Raises:
        DnntuneError: See `pipeline.finalize.run.finalize`.
    """
    from pipeline.finalize.run import FinalizeOptions
    from pipeline.finalize.run import finalize as finalize_study
    from pipeline.report.final_text import final_lines

    study, schedule = run.study(), run.file.schedule
    options = FinalizeOptions(schedule.finals.top, schedule.finals.seeds, schedule.finals.refit)
    done = finalize_study(
        study.study_name,
        workspace=run.file.workspace,
        options=options,
        compute=run.file.compute,
        notify=notify,
    )
    if done.final is None:
        raise KeyboardInterrupt
    for line in final_lines(done.final):
        notify(line)
    return {"study": study.study_name, "trial": done.final.chosen.trial, "accuracy": done.final.model_metrics.accuracy}


def register(run: ScheduledRun, notify: Notify) -> dict[str, Any]:
    """Lets the result challenge the champion, if the schedule names one.

    Raises:
        DnntuneError: See `pipeline.registration.study.register`.
    """
    from pipeline.registration.study import register as register_study
    from pipeline.registration.versions import outcome_lines

    schedule = run.file.schedule
    if schedule.champion is None:
        notify("the schedule has no champion: nothing to register")
        return {}
    done = register_study(
        run.study().study_name,
        model=schedule.champion,
        workspace=run.file.workspace,
        compute=run.file.compute,
    )
    for line in outcome_lines(done):
        notify(line)
    return done.to_json()


def report(run: ScheduledRun, notify: Notify) -> dict[str, Any]:
    """Writes the study's report, and returns what a person wants to know of the run first.

    Raises:
        DnntuneError: It cannot be written.
    """
    from pipeline.finalize.final_file import load_final
    from pipeline.report.page import attach_report, write_report

    study, workspace = run.study(), run.file.workspace
    file = write_report(workspace, study.study_name, None)
    attach_report(workspace, study.study_name, file)
    notify(f"report: {file}")
    best, final = best_of(study), load_final(workspace, study.study_name)
    metrics = {} if final is None else {f"{final.split}_accuracy": final.model_metrics.accuracy}
    value = {} if best is None else {"best_trial": best.number, f"best_{study.user_attrs[METRICS][0]}": best.value}
    return {"study": study.study_name, "report": str(file), **value, **metrics}


def clean(run: ScheduledRun, notify: Notify) -> dict[str, Any]:
    """Removes what old studies have left, see `pipeline.scheduling.retention`."""
    from pipeline.scheduling.retention import remove_old

    quiet_optuna()
    schedule = run.file
    removed = remove_old(
        open_existing(schedule.workspace), schedule.name, schedule.workspace, schedule.schedule.retention
    )
    notify(f"removed checkpoints and models of {len(removed.studies)} old studies: {removed.num_bytes / 2**20:.1f} MiB")
    return dataclasses.asdict(removed)


STEPS: dict[str, Step] = {
    "check": check,
    "prepare": prepare,
    "worker": worker,
    "finalize": finalize,
    "register": register,
    "report": report,
    "clean": clean,
}


def run_chain(
    run: ScheduledRun, notify: Notify, open_observer: OpenObserver | None = None
) -> dict[str, dict[str, Any]]:
    """Goes through all steps in this process, the worker step with all workers; what each has returned, by step.

    Raises:
        DnntuneError: Of the step that cannot be done; the steps before it are not done again by the next call.
    """
    results = {}
    for name, step in STEPS.items():
        notify(f"--- {name}")
        if name == "worker":
            results[name] = worker(run, notify, workers=run.file.schedule.workers, open_observer=open_observer)
        else:
            results[name] = step(run, notify)
    return results


def step_of(name: str, open_observer: OpenObserver | None = None) -> Step:
    """Returns a step.

    Args:
        name: Its name.
        open_observer: Opens what is told of trials and epochs, see `worker`.

    Raises:
        StudyError: There is none of this name.
    """
    if name not in STEPS:
        raise StudyError(f"a step is one of {', '.join(STEPS)}; got {name}")
    return functools.partial(worker, open_observer=open_observer) if name == "worker" else STEPS[name]
