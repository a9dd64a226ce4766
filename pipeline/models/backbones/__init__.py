"""timm's networks: their weights, their stages, and the cut between layers."""
