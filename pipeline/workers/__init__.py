"""Processes that run trials, and their supervisor."""
