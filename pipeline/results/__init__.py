"""What comes out of studies and trainings, for a person to look at."""
