"""What happened, in plain values that pass between rooms and processes."""
