"""How good a network is: metrics, intervals, ensembles, predictions of saved models, train-and-test."""
