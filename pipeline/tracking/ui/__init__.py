"""MLflow's page: charts, prepared views, comparisons."""
