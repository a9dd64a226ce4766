"""A final result as `dnntune finalize` makes one, of made-up numbers."""

from pipeline.records.final import ClassResult, Ensemble, Final, Finalist, Misclassified, ModelMetrics, Speed

CONFIG = {"data": {"kind": "digits"}, "model": {"kind": "mlp", "hidden_layers": 1, "width": 16}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def model_metrics(accuracy: float) -> ModelMetrics:
    return ModelMetrics(accuracy, (accuracy - 0.02, accuracy + 0.02), -0.25, 0.03, 0.4)


FINAL = Final(
    study="small",
    metric="valid_accuracy",
    ended=1.8e9,
    times_measured=1,
    finalists=(
        Finalist(1, 0.95, {1: 0.94, 2: 0.95}, 0.945, (0.8815, 1.0), CONFIG),
        Finalist(3, 0.96, {1: 0.92, 2: 0.92}, 0.92, (0.92, 0.92), CONFIG),
    ),
    seed=2,
    finals="small-final",
    number=2,
    split="test",
    num_images=360,
    class_names=("zero", "one"),
    model_metrics=model_metrics(0.93),
    by_seed={1: 0.92, 2: 0.93},
    seeds_mean=0.925,
    seeds_interval=(0.8615, 0.9885),
    monte_carlo=model_metrics(0.931),
    monte_carlo_samples=20,
    classes=(ClassResult("zero", 180, 0.9, 0.95), ClassResult("one", 180, 0.95, 0.91)),
    confusion=((171, 9), (16, 164)),
    misclassified=(Misclassified(7, 0, 1, 0.99, PNG), Misclassified(11, 1, 0, 0.97, PNG)),
    left_out=(),
    ensembles=(
        Ensemble("seeds", ("trial 1, seed 1", "trial 1, seed 2"), 2600, 0.95, model_metrics(0.94)),
        Ensemble("top", ("trial 1, seed 2", "trial 3, seed 1"), 2600, 0.95, model_metrics(0.941)),
        Ensemble("greedy", ("trial 1, seed 2", "trial 1, seed 2", "trial 5"), 2600, 0.96, model_metrics(0.945)),
    ),
    refit=model_metrics(0.935),
    refit_epochs="9 epochs",
    speed=(Speed(1, 0.13, 7692.3), Speed(256, 2.7, 94814.8)),
    device="cpu",
    threads=1,
    num_parameters=1300,
    size_bytes=5600,
)
