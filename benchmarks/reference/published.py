"""The published settings. Where a source leaves something open, the note says what was taken."""

from typing import Any

from benchmarks.reference.settings import Scaling, Setting

LECTURE = "the lecture author's notebooks"
BOOK = "Géron, 2nd edition, chapter 11"
README = "Fashion-MNIST's README"


def _lecture(key: str, what: str, model: dict[str, Any], note: str = "", **fields: Any) -> Setting:
    published = {name: fields.pop(name) for name in ("valid", "test") if name in fields}
    config = {
        "model": {"width": [50, 50], "activation": "relu", "initialization": "glorot", "batch_norm": "none", **model},
        "optimizer": {"kind": "sgd", "lr": 0.01, "momentum": 0.0},
        "schedule": {"kind": "constant"},
        "batch_size": 16,
        "epochs": 10,
        **fields,
    }
    return Setting(key, LECTURE, what, config, split="random", scaling="unit", note=note, **published)


def _book(
    key: str,
    what: str,
    fields: dict[str, Any],
    scaling: Scaling,
    note: str = "",
    *,
    valid: float | None = None,
    test: float | None = None,
    test_mc: float | None = None,
) -> Setting:
    model = {"width": [300, 100], "batch_norm": "none", **fields.pop("model")}
    config = {"schedule": {"kind": "constant"}, "batch_size": 32, **fields, "model": model}
    return Setting(key, BOOK, what, config, valid=valid, test=test, test_mc=test_mc, scaling=scaling, note=note)


def _selu(schedule: dict[str, Any], optimizer: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "model": {"activation": "selu", "initialization": "lecun"},
        "schedule": schedule,
        "optimizer": optimizer,
        "epochs": 25,
        **fields,
    }


def _deep(activation: str, initialization: str) -> dict[str, Any]:
    widths = [300] + [100] * 99
    return {
        "model": {"width": widths, "activation": activation, "initialization": initialization},
        "optimizer": SLOW_SGD,
        "epochs": 5,
    }


SLOW_SGD = {"kind": "sgd", "lr": 1e-3, "momentum": 0.0}
STEPS = 42_000 // 16
KERAS_NORM = {"batch_norm_alpha": 0.01, "batch_norm_epsilon": 1e-3, "input_batch_norm": True}
BATCH_NORM = {"batch_norm": "after", **KERAS_NORM}
DROPOUT = {"kind": "dropout", "rate": 0.2, "last_layers": 2, "input_rate": 0.2}
PERFORMANCE = {"kind": "performance", "factor": 0.1, "patience": 5}
STOPPING = {"monitor": "valid_loss", "patience": 5}
BY_EPOCH = {
    "kind": "piecewise",
    "boundaries": [float(epoch) for epoch in range(1, 25)],
    "factors": [0.1 ** (epoch / 20) for epoch in range(1, 25)],
}
CONTROL_NOTE = "not a published setting: it shows what the initialization's default does to one"
STOPPING_NOTE = "patience taken as 5, on the validation loss"

SETTINGS = (
    _lecture("lecture baseline", "784-50-50-10 ReLU, SGD 0.01, batch 16, 10 epochs", {}, valid=0.8728),
    _lecture(
        "lecture early stopping",
        "the same with early stopping, at most 20 epochs",
        {},
        epochs=20,
        early_stopping=STOPPING,
        test=0.8735,
        note=STOPPING_NOTE,
    ),
    _lecture(
        "lecture power",
        "power scheduling, s = 10,000 steps",
        {},
        schedule={"kind": "power", "step_epochs": 10_000 / STEPS},
        valid=0.8663,
    ),
    _lecture(
        "lecture exponential",
        "exponential scheduling, s = 3,281 steps",
        {},
        schedule={"kind": "exponential", "step_epochs": 3_281 / STEPS},
        valid=0.8100,
    ),
    _lecture(
        "lecture performance",
        "performance scheduling x 0.1, patience 5",
        {},
        schedule=PERFORMANCE,
        valid=0.8698,
    ),
    _lecture(
        "control: baseline",
        "the baseline with PyTorch's own initialization",
        {"initialization": "torch"},
        valid=0.8728,
        note=CONTROL_NOTE,
    ),
    _lecture(
        "control: exponential",
        "exponential scheduling, likewise",
        {"initialization": "torch"},
        schedule={"kind": "exponential", "step_epochs": 3_281 / STEPS},
        valid=0.8100,
        note=CONTROL_NOTE,
    ),
    _lecture("lecture batch norm", "batch normalization on the input and after each ReLU", BATCH_NORM, valid=0.8773),
    _lecture("lecture clip", "gradient clipped by value 1", {}, clip={"kind": "value", "threshold": 1.0}, valid=0.8561),
    _lecture(
        "lecture dropout",
        "dropout 0.2 on input and hidden layers, clipped by value 1",
        {"dropout": DROPOUT},
        clip={"kind": "value", "threshold": 1.0},
        valid=0.8577,
        test=0.8514,
    ),
    _lecture(
        "lecture all",
        "batch normalization, performance scheduling and early stopping",
        BATCH_NORM,
        schedule={**PERFORMANCE, "patience": 3},
        early_stopping=STOPPING,
        epochs=20,
        valid=0.8795,
        test=0.8701,
        note=f"{STOPPING_NOTE}; performance scheduling's then as 3, at most 20 epochs",
    ),
    _book(
        "book leaky ReLU",
        "784-300-100-10 leaky ReLU, He, SGD 1e-3, batch 32, 10 epochs",
        {
            "model": {"activation": "leaky_relu", "negative_slope": 0.3, "initialization": "he"},
            "optimizer": SLOW_SGD,
            "epochs": 10,
        },
        "unit",
        note="slope 0.3, Keras's default then",
        valid=0.8396,
    ),
    _book("book SELU, 100 layers", "SELU, LeCun, SGD 1e-3, 5 epochs", _deep("selu", "lecun"), "pixel", valid=0.8218),
    _book("book ReLU, 100 layers", "ReLU, He, SGD 1e-3, 5 epochs", _deep("relu", "he"), "pixel", valid=0.7380),
    _book(
        "book batch norm after",
        "ReLU, batch normalization on the input and after each activation, SGD 1e-3, 10 epochs",
        {
            "model": {"activation": "relu", "initialization": "glorot", **KERAS_NORM, "batch_norm": "after"},
            "optimizer": SLOW_SGD,
            "epochs": 10,
        },
        "unit",
        valid=0.8750,
    ),
    _book(
        "book batch norm before",
        "the same before each activation",
        {
            "model": {"activation": "relu", "initialization": "glorot", **KERAS_NORM, "batch_norm": "before"},
            "optimizer": SLOW_SGD,
            "epochs": 10,
        },
        "unit",
        valid=0.8660,
    ),
    _book(
        "book power",
        "SELU, SGD 0.01, power scheduling with decay 1e-4, 25 epochs",
        _selu({"kind": "power", "step_epochs": 10_000 / (55_000 / 32)}, {"kind": "sgd", "lr": 0.01, "momentum": 0.0}),
        "pixel",
        valid=0.8924,
    ),
    _book(
        "book exponential",
        "SELU, Nadam 0.01, exponential scheduling epoch by epoch, s = 20 epochs, 25 epochs",
        _selu(BY_EPOCH, {"kind": "nadam", "lr": 0.01}),
        "pixel",
        valid=0.8928,
    ),
    _book(
        "book performance",
        "SELU, SGD 0.02 with momentum 0.9, performance scheduling x 0.5, patience 5, 25 epochs",
        _selu({"kind": "performance", "factor": 0.5, "patience": 5}, {"kind": "sgd", "lr": 0.02, "momentum": 0.9}),
        "pixel",
        valid=0.8936,
    ),
    _book(
        "book 1cycle",
        "SELU, SGD, 1cycle up to 0.05, batch 128, 25 epochs",
        _selu({"kind": "one_cycle"}, {"kind": "sgd", "lr": 0.05, "momentum": 0.0}, batch_size=128),
        "pixel",
        valid=0.8934,
    ),
    _book(
        "book alpha dropout",
        "SELU, alpha dropout 0.2 on input and hidden layers, SGD 0.01 with Nesterov momentum 0.9, 20 epochs",
        {
            "model": {"activation": "selu", "initialization": "lecun", "dropout": DROPOUT},
            "optimizer": {"kind": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": True},
            "epochs": 20,
        },
        "pixel",
        test=0.8639,
        test_mc=0.8661,
    ),
    Setting(
        "README MLP",
        README,
        "784-256-128-100-10",
        {
            "model": {"width": [256, 128, 100], "activation": "relu", "initialization": "torch", "batch_norm": "none"},
            "optimizer": {"kind": "adam", "lr": 1e-3},
            "schedule": {"kind": "constant"},
            "batch_size": 128,
            "epochs": 20,
        },
        test=0.8833,
        note="the README gives the widths alone: ReLU, Adam 1e-3, batch 128 and 20 epochs were taken",
    ),
)
