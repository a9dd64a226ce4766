"""What it costs and brings to run a study on several workers: see `benchmarks.scaling.__main__`."""
