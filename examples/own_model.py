# %% [markdown]
# A network of your own: gated_mlp.py registers it, and its settings are searched, checked and logged as any.

# %%
from pathlib import Path

import dnntune

try:
    HERE = Path(__file__).parent
except NameError:  # in a notebook
    HERE = Path()

space = {
    "data": {"kind": "digits"},
    "model": {"kind": "gated_mlp", "units": {"int": [16, 128], "log": True}, "gate": {"choice": ["sigmoid", "tanh"]}},
    "optimizer": {"kind": "adamw", "lr": {"float": [1e-3, 3e-2], "log": True}},
    "epochs": 10,
}
study = dnntune.tune(space, name="own-model", trials=6, workers=2, plugins=[HERE / "gated_mlp.py"])
print(study.leaderboard(3)[["number", "valid_accuracy", "num_parameters"]])

# %% A mistake in it is reported as in any other space.
try:
    dnntune.check({**space, "model": {"kind": "gated_mlp", "gate": "softsign"}}, name="mistake")
except dnntune.errors.SpaceError as error:
    print(error)
