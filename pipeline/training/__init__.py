"""Training: phases, the loop, a step, checkpoints."""
