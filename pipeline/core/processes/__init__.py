"""Processes, signals and ports, and what this machine has."""
