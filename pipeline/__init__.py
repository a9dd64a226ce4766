"""dnntune: tuning of image classifiers with Optuna and PyTorch, logged to MLflow."""

__version__ = "0.1.0"
