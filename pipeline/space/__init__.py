"""The language: a search space has the shape of the configuration that it searches."""
