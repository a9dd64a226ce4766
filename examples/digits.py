# %% [markdown]
# A study in one call: scikit-learn's digits come with dnntune, and so does their search space.

# %%
import dnntune

study = dnntune.tune("digits_mlp", trials=8, workers=2)
print(f"best: {study.best.value:.4f}, with {study.best.params}")

# %% All trials as a table of pandas'.
trials = study.trials_dataframe()
print(trials[["number", "outcome", "valid_accuracy", "seconds"]])

# %% The best configuration, trained once more and measured on the test set.
training = dnntune.train(study.best.config)
for epoch in training:
    print(f"epoch {epoch.epoch}: {epoch.valid_accuracy:.4f}")
print(f"test accuracy: {training.result['test_accuracy']:.4f}")
