"""What a pretrained network is worth with few images: see `benchmarks.transfer.__main__`."""
