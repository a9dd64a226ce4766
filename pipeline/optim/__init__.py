"""What a step does with gradients: optimizers, schedules, clipping, averaging, early stopping."""
