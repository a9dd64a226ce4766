"""The graph of a classifier in two formats, the same bytes on every run: model.pt2 (torch.export) and model.onnx."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from pipeline.core.quiet import quiet
from pipeline.export.errors import ExportError
from pipeline.export.formats.folding import Folded, fold_batch_norm
from pipeline.export.preprocessing import WithProbabilities

# What tells where on this machine, and from which line of code, a node comes.
TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")
NEEDED = ("onnx", "onnxruntime", "onnxscript")


def check_packages() -> None:
    """Proves that ONNX can be written and run.

    Raises:
        ExportError: A package is not installed.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ExportError(
            f"an export needs {', '.join(NEEDED)}; not installed: {', '.join(missing)}. "
            "Install them: pip install dnntune[export]"
        )


def trace(classifier: WithProbabilities, example: Tensor, *, folds: bool) -> tuple[ExportedProgram, Folded | None]:
    """Returns a classifier's graph, for batches of any size.

    Args:
        classifier: In evaluation mode, on the processor.
        example: Images, (batch, channels, height, width), at least 2: torch takes a batch of one for a constant.
        folds: Whether batch normalization is folded.

    Returns:
        The graph, and what was folded; None if that was not asked for.
    """
    assert len(example) >= 2
    with torch.no_grad():
        program = _export(classifier, example)
        if not folds:
            return _anonymous(program), None
        module = program.module(check_guards=False)
        assert isinstance(module, GraphModule)
        folded = fold_batch_norm(module)
        return _anonymous(_export(module, example)), folded


def save_pt2(program: ExportedProgram, file: Path) -> None:
    """Writes a graph for `torch.export.load`."""
    torch.export.save(program, file)


def save_onnx(program: ExportedProgram, example: Tensor, file: Path) -> None:
    """Writes a graph for ONNX Runtime and others; its input is ``images``, its output ``probabilities``."""
    import onnx

    with quiet("torch", "torch.onnx", "torch.export", "onnxscript"):
        converted = torch.onnx.export(
            program, (example,), dynamo=True, input_names=["images"], output_names=["probabilities"], verbose=False
        )
    assert converted is not None
    model = converted.model_proto
    _strip(model)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _export(module: torch.nn.Module, example: Tensor) -> ExportedProgram:
    with quiet("torch", "torch.onnx", "torch.export", "onnxscript"):
        return torch.export.export(module, (example,), dynamic_shapes=({0: Dim("batch")},))


def _anonymous(program: ExportedProgram) -> ExportedProgram:
    """Removes from a graph what says where it was made, and the images that it was made with."""
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                for name in TRACES:
                    node.meta.pop(name, None)
    program.example_inputs = None
    return program


def _strip(message: Any) -> None:
    """Clears the notes in an ONNX model and all that is in it: they hold stack traces."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in (value,) if hasattr(value, "ListFields") else value:
                _strip(part)
