"""A study on one page, for a person: what came out, why, what it cost, and how to repeat it."""
