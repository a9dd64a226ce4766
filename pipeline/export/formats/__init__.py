"""A classifier as a graph: torch.export and ONNX, batch normalization folded into it, and proven to give the same."""
