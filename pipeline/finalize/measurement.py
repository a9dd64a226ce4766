"""What is chosen by the validation set, and then, once, what it is worth on the test set."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
import torch

from pipeline.config.data import DataConfig
from pipeline.config.metrics import Monitor
from pipeline.core.errors import StudyError
from pipeline.evaluation.ensembles import averaged, greedy, log_likelihood
from pipeline.evaluation.intervals import SHARE, mean_interval
from pipeline.evaluation.metrics import class_results, confusion_matrix, model_metrics, most_misclassified, speeds
from pipeline.evaluation.predictor import Predictor, SavedModel
from pipeline.finalize.finalists import best_seed, case_name, result_number
from pipeline.models.build import num_parameters
from pipeline.records.final import Ensemble, Final, Finalist, Split
from pipeline.setup.images import prepared
from pipeline.study.cases import trials_by_case
from pipeline.training.evaluation import predict_by_monte_carlo
from pipeline.training.metrics import metric_of

# Metrics of a study whose ensembles are selected by their likelihood.
LIKELIHOOD_FOR = ("valid_accuracy", "valid_loss", "valid_log_likelihood")


@dataclass(frozen=True)
class FinalSelection:
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
    models: Mapping[tuple[int, int], SavedModel]
    ensembles: Mapping[str, Sequence[SavedModel]]
    left_out: tuple[str, ...] = ()

    @property
    def finalist(self) -> Finalist:
        """The chosen configuration."""
        return self.ranked[0]

    @property
    def model(self) -> SavedModel:
        """Its model."""
        return self.models[self.finalist.trial, self.seed]


@dataclass(frozen=True)
class Refit:
    """A model trained on all images but the test set's, and for how many epochs, phase by phase, in words."""

    model: SavedModel
    epochs: str


def select_final(
    ranked: Sequence[Finalist],
    models: Mapping[tuple[int, int], SavedModel],
    library: Sequence[SavedModel],
    *,
    metric: Monitor,
    predictor: Predictor,
) -> FinalSelection:
    """Chooses the model that stands for the best configuration, and the members of the ensembles.

    Args:
        ranked: The finalists, the best mean first.
        models: Their models, by number of the study's trial and seed.
        library: The models that the study itself has kept.
        metric: What is optimized.
        predictor: Predicts.

    Raises:
        StudyError: The validation images are no longer those of the chosen model's training.
    """
    first = ranked[0]
    seed = best_seed(first, metric)
    chosen = models[first.trial, seed]
    if not _is_validated_now_as_then(chosen, predictor):
        raise StudyError(
            f"the validation images must be those with which {chosen.name} was trained; those of its data set "
            f"({chosen.config.data.kind}) are different now. Restore the data, or run a new study"
        )
    candidates = [*models.values(), *library]
    by_name = {saved.name: saved for saved in candidates if _shares_images(saved, chosen, predictor)}
    seeds = [models[first.trial, seed] for seed in first.values]
    top = [models[other.trial, best_seed(other, metric)] for other in ranked if other.values]
    data = predictor.data(chosen.config)
    # Accuracy counts a few images more or less: the likelihood says which of many ensembles is better.
    score = log_likelihood if metric in LIKELIHOOD_FOR else metric_of(metric, data.class_names)
    candidate_logs = {name: predictor.log_probabilities(saved, "valid") for name, saved in by_name.items()}
    picks = greedy(candidate_logs, data.valid.labels.cpu(), score)
    ensembles = {
        "seeds": [saved for saved in seeds if saved.name in by_name],
        "top": [saved for saved in top if saved.name in by_name],
        "greedy": [by_name[name] for name in picks],
    }
    left_out = tuple(saved.name for saved in candidates if saved.name not in by_name)
    return FinalSelection(ranked, seed, models, ensembles, left_out)


def _shares_images(saved: SavedModel, chosen: SavedModel, predictor: Predictor) -> bool:
    """Returns whether two models were validated on the same images, and so predict the same ones now."""
    if not _is_validated_now_as_then(saved, predictor):
        return False
    return _validation_source(saved) == _validation_source(chosen) or saved.valid_images == chosen.valid_images


def _is_validated_now_as_then(saved: SavedModel, predictor: Predictor) -> bool:
    return predictor.data(saved.config).valid_fingerprint == saved.valid_images


def _validation_source(saved: SavedModel) -> DataConfig:
    """Returns all that decides which images are validated on; networks may read them at sizes of their own."""
    return saved.config.data.model_copy(update={"image_size": None, "max_train_images": None, "sampling": "natural"})


def measure(
    selection: FinalSelection,
    refit: Refit | None,
    *,
    predictor: Predictor,
    study: str,
    metric: Monitor,
    finals: optuna.Study,
    mc_samples: int,
    times_measured: int,
) -> Final:
    """Measures what was chosen on the test set, or on the validation set where the data have none.

    Args:
        selection: What was chosen.
        refit: The refitted model; None for none.
        predictor: Predicts.
        study: The study.
        metric: What it optimizes.
        finals: The study that has trained the finalists.
        mc_samples: Passes of Monte Carlo dropout.
        times_measured: How often the part has been measured, this time included.

    Raises:
        DataError: The test set cannot be read.
    """
    saved, config = selection.model, selection.model.config
    split: Split = "valid" if predictor.images(config, "test") is None else "test"
    images = predictor.images(config, split)
    assert images is not None
    labels, class_names = images.labels.cpu(), predictor.data(config).class_names
    predicted = predictor.log_probabilities(saved, split)
    confusion = confusion_matrix(predicted.argmax(1), labels, len(class_names))
    network, inputs, precision = predictor.network(saved), prepared(config.model, images), predictor.precision(config)
    by_seed = {
        seed: model_metrics(
            predictor.log_probabilities(selection.models[selection.finalist.trial, seed], split), labels
        ).accuracy
        for seed in selection.finalist.values
    }
    monte_carlo = None
    if config.model.drops:
        sampled = predict_by_monte_carlo(network, inputs, precision, samples=mc_samples, seed=config.seed)
        monte_carlo = model_metrics(sampled.cpu(), labels)
    trial = trials_by_case(finals)[case_name(selection.finalist.trial)][selection.seed]
    return Final(
        study=study,
        metric=metric,
        ended=time.time(),
        times_measured=times_measured,
        finalists=tuple(selection.ranked),
        seed=selection.seed,
        finals=finals.study_name,
        number=result_number(trial),
        split=split,
        num_images=len(labels),
        class_names=class_names,
        model_metrics=model_metrics(predicted, labels),
        by_seed=by_seed,
        seeds_mean=statistics.fmean(by_seed.values()),
        seeds_interval=mean_interval(list(by_seed.values()), SHARE),
        monte_carlo=monte_carlo,
        monte_carlo_samples=mc_samples,
        classes=class_results(confusion, class_names),
        confusion=tuple(map(tuple, confusion.tolist())),
        misclassified=most_misclassified(predicted, images),
        left_out=selection.left_out,
        ensembles=tuple(_ensemble(name, members, predictor, split) for name, members in selection.ensembles.items()),
        refit=None if refit is None else model_metrics(predictor.log_probabilities(refit.model, split), labels),
        refit_epochs=None if refit is None else refit.epochs,
        speed=speeds(network, inputs, precision),
        device=torch.cuda.get_device_name(predictor.device) if predictor.device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        num_parameters=num_parameters(network),
        size_bytes=saved.file.stat().st_size,
    )


def _ensemble(name: str, members: Sequence[SavedModel], predictor: Predictor, split: Split) -> Ensemble:
    def together(split: Split) -> torch.Tensor:
        return averaged([predictor.log_probabilities(member, split) for member in members])

    def labels(split: Split) -> torch.Tensor:
        images = predictor.images(members[0].config, split)
        assert images is not None
        return images.labels.cpu()

    different = {member.file: member for member in members}.values()
    return Ensemble(
        name=name,
        members=tuple(member.name for member in members),
        num_parameters=sum(num_parameters(predictor.network(member)) for member in different),
        valid_accuracy=model_metrics(together("valid"), labels("valid")).accuracy,
        metrics=model_metrics(together(split), labels(split)),
    )
