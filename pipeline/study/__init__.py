"""Studies: configurations drawn, trained, pruned and kept, by one worker or many."""
