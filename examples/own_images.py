# %% [markdown]
# A folder of your own images: one folder for each class below train/, and below test/ if you have a test set.
# This one is made of scikit-learn's digits; use yours instead.

# %%
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
    folder = Path("images", "test" if number % 5 == 0 else "train", f"digit-{digit}")
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / f"{number}.png")

# %% What is searched: a small perceptron, and how fast it learns.
from optuna.distributions import FloatDistribution, IntDistribution

import dnntune

space = {
    "data": {"kind": "image_folder", "path": "images", "image_size": 8},
    "model": {"hidden_layers": IntDistribution(1, 3), "width": 64},
    "optimizer": {"kind": "adamw", "lr": FloatDistribution(1e-3, 3e-2, log=True)},
    "epochs": 10,
}
study = dnntune.tune(space, name="own-images", trials=6, workers=2)

# %% Train the best one again, measure it on images/test, and write it to a folder.
training = dnntune.train(study.best.config, export="own-images-model")
print(f"test accuracy: {training.result['test_accuracy']:.4f}")

# %% The export is all that a prediction needs.
model = dnntune.load("own-images-model")
found = model.predict("images/test/digit-7")
print(f"{found.labels.count('digit-7')} of {len(found)} sevens are classified as sevens")
