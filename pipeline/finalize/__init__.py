"""The end of a study: finalists over fresh seeds, the one look at the test part, the model to export."""
