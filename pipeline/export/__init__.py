"""Exports: a folder with a trained model in three formats and all that is to be known of it.

The same model, configuration and figures give the same bytes. Whoever only reads an export imports
`pipeline.export.reading`, which needs no ONNX.
"""
