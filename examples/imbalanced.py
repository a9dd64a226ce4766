# %% [markdown]
# Rare classes: of the digits, the six is made rare (a tenth of its images). Accuracy would hardly notice if no six was
# found.

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dnntune

digits = load_digits()
rare = np.flatnonzero(digits.target == 6)[18:]
keep = np.setdiff1d(np.arange(len(digits.target)), rare)
images, labels = (digits.images[keep] * 15).astype(np.uint8)[:, None], digits.target[keep]
x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=0.3, stratify=labels, random_state=0)
np.savez("imbalanced.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)

# %% Optimize macro F1, in which each class weighs the same, and search how much rare classes count.
space = {
    "study": {"metrics": "valid_macro_f1"},
    "space": {
        "data": {"kind": "arrays", "path": "imbalanced.npz", "sampling": {"choice": ["natural", "balanced"]}},
        "model": {"hidden_layers": 1, "width": 64},
        "loss": {"class_weights": {"choice": ["none", "balanced"]}},
        "early_stopping": {"monitor": "valid_macro_f1"},
        "optimizer": {"kind": "adamw", "lr": {"float": [1e-3, 3e-2], "log": True}},
        "epochs": 10,
    },
}
study = dnntune.tune(space, name="imbalanced", trials=6, workers=2)
print(f"best macro F1: {study.best.value:.4f}, with {study.best.params}")
