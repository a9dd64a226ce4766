"""What is chosen by the validation part, and then, once, what it is worth on the test part."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
import torch

from pipeline.config.data import DataConfig
from pipeline.config.training import Monitor
from pipeline.core.errors import StudyError
from pipeline.evaluation.ensembles import averaged, greedy
from pipeline.evaluation.intervals import SHARE, mean_interval
from pipeline.evaluation.measuring import class_results, confusion_matrix, measured, most_confused, speeds
from pipeline.evaluation.predictor import KeptModel, ModelBench
from pipeline.finalize.finalists import best_seed, case_name, result_number
from pipeline.models.build import num_parameters
from pipeline.records.final import Ensemble, Final, Finalist, Part
from pipeline.setup.images import prepared
from pipeline.study.cases import trials_by_case
from pipeline.training.evaluation import predict_by_monte_carlo


@dataclass(frozen=True)
class Choice:
    """What was chosen, before any test image was seen.

    Attributes:
        ranked: The finalists, the best mean first.
        seed: Of the chosen configuration's models the best one's.
        models: The finalists' models, by number of the study's trial and seed.
        ensembles: Models to be taken together, by what the ensemble is called.
        left_out: Names of the models that were validated on other images than the chosen one.
    """

    ranked: Sequence[Finalist]
    seed: int
    models: Mapping[tuple[int, int], KeptModel]
    ensembles: Mapping[str, Sequence[KeptModel]]
    left_out: tuple[str, ...] = ()

    @property
    def finalist(self) -> Finalist:
        """The chosen configuration."""
        return self.ranked[0]

    @property
    def model(self) -> KeptModel:
        """Its model."""
        return self.models[self.finalist.trial, self.seed]


@dataclass(frozen=True)
class Refit:
    """A model trained on all images but the test part's, and for how many epochs, phase by phase, in words."""

    model: KeptModel
    epochs: str


def choose(
    ranked: Sequence[Finalist],
    models: Mapping[tuple[int, int], KeptModel],
    library: Sequence[KeptModel],
    *,
    metric: Monitor,
    bench: ModelBench,
) -> Choice:
    """Chooses the model that stands for the best configuration, and the members of the ensembles.

    Args:
        ranked: The finalists, the best mean first.
        models: Their models, by number of the study's trial and seed.
        library: The models that the study itself has kept.
        metric: What is optimized.
        bench: Predicts.

    Raises:
        StudyError: The validation images are no longer those of the chosen model's training.
    """
    first = ranked[0]
    seed = best_seed(first, metric)
    chosen = models[first.trial, seed]
    if not _is_validated_now_as_then(chosen, bench):
        raise StudyError(
            f"the validation images must be those by which {chosen.name} was trained; those of its data set "
            f"({chosen.config.data.name}) are others now. Bring the data back to what they were, or tune anew"
        )
    candidates = [*models.values(), *library]
    by_name = {kept.name: kept for kept in candidates if _shares_images(kept, chosen, bench)}
    seeds = [models[first.trial, seed] for seed in first.values]
    top = [models[other.trial, best_seed(other, metric)] for other in ranked if other.values]
    labels = bench.data(chosen.config).valid.labels.cpu()
    picks = greedy({name: bench.log_probabilities(kept, "valid") for name, kept in by_name.items()}, labels)
    ensembles = {
        "seeds": [kept for kept in seeds if kept.name in by_name],
        "top": [kept for kept in top if kept.name in by_name],
        "greedy": [by_name[name] for name in picks],
    }
    left_out = tuple(kept.name for kept in candidates if kept.name not in by_name)
    return Choice(ranked, seed, models, ensembles, left_out)


def _shares_images(kept: KeptModel, chosen: KeptModel, bench: ModelBench) -> bool:
    """Returns whether two models were validated on the same images, and so predict the same ones now."""
    if not _is_validated_now_as_then(kept, bench):
        return False
    return _source(kept) == _source(chosen) or kept.valid_images == chosen.valid_images


def _is_validated_now_as_then(kept: KeptModel, bench: ModelBench) -> bool:
    return bench.data(kept.config).valid_fingerprint == kept.valid_images


def _source(kept: KeptModel) -> DataConfig:
    """Returns all that decides which images are validated on; networks may read them at sizes of their own."""
    return kept.config.data.model_copy(update={"image_size": None, "max_train_images": None})


def measure(
    choice: Choice,
    refit: Refit | None,
    *,
    bench: ModelBench,
    study: str,
    metric: Monitor,
    finals: optuna.Study,
    mc_samples: int,
    times_measured: int,
) -> Final:
    """Measures what was chosen on the test part, or on the validation part where the data have none.

    Args:
        choice: What was chosen.
        refit: The refitted model; None for none.
        bench: Predicts.
        study: The study.
        metric: What it optimizes.
        finals: The study that has trained the finalists.
        mc_samples: Passes of Monte Carlo dropout.
        times_measured: How often the part has been measured, this time included.

    Raises:
        DataError: The test part cannot be read.
    """
    kept, config = choice.model, choice.model.config
    part: Part = "valid" if bench.images(config, "test") is None else "test"
    images = bench.images(config, part)
    assert images is not None
    labels, class_names = images.labels.cpu(), bench.data(config).class_names
    predicted = bench.log_probabilities(kept, part)
    confusion = confusion_matrix(predicted.argmax(1), labels, len(class_names))
    network, inputs, precision = bench.network(kept), prepared(config.model, images), bench.precision(config)
    by_seed = {
        seed: measured(bench.log_probabilities(choice.models[choice.finalist.trial, seed], part), labels).accuracy
        for seed in choice.finalist.values
    }
    monte_carlo = None
    if config.model.drops:
        sampled = predict_by_monte_carlo(network, inputs, precision, samples=mc_samples, seed=config.seed)
        monte_carlo = measured(sampled.cpu(), labels)
    trial = trials_by_case(finals)[case_name(choice.finalist.trial)][choice.seed]
    return Final(
        study=study,
        metric=metric,
        ended=time.time(),
        times_measured=times_measured,
        finalists=tuple(choice.ranked),
        seed=choice.seed,
        finals=finals.study_name,
        number=result_number(trial),
        part=part,
        num_images=len(labels),
        class_names=class_names,
        plain=measured(predicted, labels),
        by_seed=by_seed,
        seeds_mean=statistics.fmean(by_seed.values()),
        seeds_interval=mean_interval(list(by_seed.values()), SHARE),
        monte_carlo=monte_carlo,
        monte_carlo_samples=mc_samples,
        classes=class_results(confusion, class_names),
        confusion=tuple(map(tuple, confusion.tolist())),
        confused=most_confused(predicted, images),
        left_out=choice.left_out,
        ensembles=tuple(_ensemble(name, members, bench, part) for name, members in choice.ensembles.items()),
        refit=None if refit is None else measured(bench.log_probabilities(refit.model, part), labels),
        refit_epochs=None if refit is None else refit.epochs,
        speed=speeds(network, inputs, precision),
        device=torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        num_parameters=num_parameters(network),
        size_bytes=kept.file.stat().st_size,
    )


def _ensemble(name: str, members: Sequence[KeptModel], bench: ModelBench, part: Part) -> Ensemble:
    def together(part: Part) -> torch.Tensor:
        return averaged([bench.log_probabilities(member, part) for member in members])

    def labels(part: Part) -> torch.Tensor:
        images = bench.images(members[0].config, part)
        assert images is not None
        return images.labels.cpu()

    different = {member.file: member for member in members}.values()
    return Ensemble(
        name=name,
        members=tuple(member.name for member in members),
        num_parameters=sum(num_parameters(bench.network(member)) for member in different),
        valid_accuracy=measured(together("valid"), labels("valid")).accuracy,
        measured=measured(together(part), labels(part)),
    )
