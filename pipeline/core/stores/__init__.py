"""Addresses of studies and of MLflow, without their secrets in any message, and the making of their tables."""
