"""How a study searches: samplers and pruners."""
