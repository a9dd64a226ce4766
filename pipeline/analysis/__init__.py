"""Why a network learns or does not: diagnosis and its remedies, ablation, importance, the range of rates."""
