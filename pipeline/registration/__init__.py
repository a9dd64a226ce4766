"""MLflow's model registry: versions, the champion, and how both compare."""
