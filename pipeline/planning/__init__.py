"""From data to a space file, and from there to a model, without a word from the user."""
