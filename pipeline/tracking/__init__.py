"""MLflow: its store, a study's runs, and their page."""
