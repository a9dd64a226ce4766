"""Optuna's storages: opened, tried again, with heartbeats and locks."""
