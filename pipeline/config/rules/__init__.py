"""Rules that span several settings."""
