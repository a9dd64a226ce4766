"""What Python programs and notebooks call; the module `dnntune` names it."""
