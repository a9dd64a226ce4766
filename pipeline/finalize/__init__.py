"""The end of a study: finalists over fresh seeds, the one look at the test set, the model to export."""
