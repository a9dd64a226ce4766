"""Published results on Fashion-MNIST, reproduced: see `benchmarks.reference.__main__`."""
