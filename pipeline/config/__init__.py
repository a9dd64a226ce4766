"""The schema: every setting of a study and of a trial, without torch and Optuna."""
