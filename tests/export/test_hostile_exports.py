"""Exports whose checksums fit and whose contents do not: each a clear error, none a traceback, none a wrong answer."""

import json
import os
import re
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pipeline.cli.app import main
from pipeline.core.errors import DnntuneError
from pipeline.export.folder import CHECKSUMS, write_checksums
from pipeline.export.reading import load_export
from pipeline.export.writing import Exported
from pipeline.registration.versions import SERVED_MODEL
from tests.export.test_served_model import functions_of

Change = Callable[[Path], object]


def text(name: str, content: str | bytes) -> Change:
    """Puts something else into a file."""
    return lambda export: (export / name).write_bytes(content.encode() if isinstance(content, str) else content)


def plain(name: str, change: Callable[[Any], object]) -> Change:
    """Changes what a JSON file describes; what the change returns is written, if it is no None."""

    def write(export: Path) -> None:
        value = json.loads((export / name).read_text())
        changed = change(value)
        (export / name).write_text(json.dumps(value if changed is None else changed))

    return write


def preprocessing(**values: Any) -> Change:
    return plain("preprocessing.json", lambda described: {**described, **values})


def labels(change: Callable[[list[Any]], object]) -> Change:
    return plain("labels.json", change)


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def write(export: Path) -> None:
        file = export / "model.safetensors"
        found = {name: tensor.clone() for name, tensor in load_file(file).items()}
        change(found)
        save_file(found, file)

    return write


def config(old: str, new: str) -> Change:
    def write(export: Path) -> None:
        content = (export / "config.yaml").read_text()
        assert old in content
        (export / "config.yaml").write_text(content.replace(old, new))

    return write


def cut(name: str, size: int) -> Change:
    return lambda export: os.truncate(export / name, size)


def as_pipe(name: str) -> Change:
    def write(export: Path) -> None:
        (export / name).unlink()
        os.mkfifo(export / name)

    return write


def header(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


INPUT = {"name": "images", "dtype": "uint8", "shape": ["batch", 1, 8, 8]}
OUTPUT = {"name": "probabilities", "dtype": "float32", "shape": ["batch", 10]}
WEIGHT = "layers.3.weight"

JSON: dict[str, tuple[Change, str]] = {
    "labels: empty": (text("labels.json", ""), "labels.json is not what"),
    "labels: NaN": (text("labels.json", "[NaN]"), "labels.json is not what"),
    "labels: not UTF-8": (text("labels.json", b'["\xff", "b"]'), "labels.json is not what"),
    "labels: deep": (text("labels.json", "[" * 100_000), "recursion limit"),
    "labels: text": (text("labels.json", '"abcdefghij"'), "must be a valid array"),
    "labels: an object": (labels(lambda names: dict.fromkeys(names, 1)), "must be a valid array"),
    "labels: numbers": (labels(lambda names: [*range(10)]), "0: must be a valid string; got 0"),
    "labels: null": (labels(lambda names: [None, *names[1:]]), "0: must be a valid string; got None"),
    "labels: lists": (labels(lambda names: [[name] for name in names]), "0: must be a valid string; got ['0']"),
    "labels: no name": (labels(lambda names: ["", *names[1:]]), "0: String should have at least 1 character"),
    "labels: one twice": (labels(lambda names: ["1", *names[1:]]), "class names must be different"),
    "labels: too few": (labels(lambda names: names[1:]), "output.shape must be ('batch', 9)"),
    "labels: too many": (labels(lambda names: [*names, "x"]), "output.shape must be ('batch', 11)"),
    "labels: one": (labels(lambda names: names[:1]), "at least 2 items"),
    "labels: none": (labels(lambda names: []), "at least 2 items"),
    "labels: too large": (cut("labels.json", 2**24 + 1), "it is larger than 16,777,216 bytes"),
    "metrics: NaN": (text("metrics.json", '{"accuracy": NaN}'), "metrics.json is not what"),
    "metrics: infinity below": (text("metrics.json", '{"test": {"loss": [Infinity]}}'), "metrics.json is not what"),
    "metrics: 1e999": (text("metrics.json", '{"accuracy": 1e999}'), "metrics.json is not what"),
    "metrics: 5,000 digits": (text("metrics.json", '{"accuracy": ' + "9" * 5000 + "}"), "Invalid JSON: number"),
    "metrics: a list": (text("metrics.json", "[1]"), "must be an object"),
    "metrics: cut off": (text("metrics.json", '{"accuracy": 0.'), "Invalid JSON"),
    "metrics: two values": (text("metrics.json", "{} {}"), "Invalid JSON"),
    "preprocessing: empty": (text("preprocessing.json", "{}"), "input: Field required"),
    "preprocessing: a list": (text("preprocessing.json", "[]"), "must be an object"),
    "preprocessing: more": (preprocessing(crop=1), "crop: Extra inputs are not permitted"),
    "preprocessing: no mean": (plain("preprocessing.json", lambda one: one.pop("mean") and None), "mean: Field"),
    "mean: a number": (preprocessing(mean=0.5), "mean: must be a valid array; got 0.5"),
    "mean: a text": (preprocessing(mean=["0.5"]), "mean.0: must be a valid number; got '0.5'"),
    "mean: NaN": (preprocessing(mean=[float("nan")]), "mean.0: must be a finite number"),
    "mean: infinity": (preprocessing(mean=[float("inf")]), "mean.0: must be a finite number"),
    "mean: beyond float32": (preprocessing(mean=[1e39]), "mean.0: must be less than or equal to 34000"),
    "mean: too long": (preprocessing(mean=[0.5, 0.5], scale=[1.0, 1.0]), "a value for each of 1 channels; got 2 and 2"),
    "mean: none": (preprocessing(mean=[], scale=[]), "a value for each of 1 channels; got 0 and 0"),
    "mean: three for one": (preprocessing(mean=[0.5] * 3, scale=[1.0] * 3), "the channels of mean must be 1"),
    "scale: of another length": (preprocessing(scale=[1.0] * 3), "a value for each of 1 channels; got 1 and 3"),
    "scale: NaN": (preprocessing(scale=[float("nan")]), "scale.0: must be"),
    "scale: 0": (preprocessing(scale=[0.0]), "scale.0: must be greater than 0; got 0.0"),
    "scale: negative": (preprocessing(scale=[-1.0]), "scale.0: must be greater than 0; got -1.0"),
    "size: of no network": (preprocessing(image_size=16), "image_size must be None"),
    "size: 0": (preprocessing(image_size=0), "image_size: must be greater than or equal to 1"),
    "size: a text": (preprocessing(image_size="16"), "image_size: must be a valid integer"),
    "size: huge": (preprocessing(image_size=10**9), "image_size: must be less than or equal to 2048"),
    "input: another type": (preprocessing(input={**INPUT, "dtype": "float64"}), "input.dtype: must be 'uint8' or"),
    "input: code as a type": (preprocessing(input={**INPUT, "dtype": "load"}), "input.dtype: must be 'uint8' or"),
    "input: three dimensions": (preprocessing(input={**INPUT, "shape": ["batch", 8, 8]}), "input.shape.3: Field"),
    "input: negative": (preprocessing(input={**INPUT, "shape": ["batch", 1, -8, -8]}), "input.shape.2: must be"),
    "input: fractions": (preprocessing(input={**INPUT, "shape": ["batch", 1, 8.0, 8]}), "input.shape.2: must be"),
    "input: other sizes": (preprocessing(input={**INPUT, "shape": ["batch", 1, 8, 9]}), "names, shapes or types"),
    "input: other channels": (preprocessing(input={**INPUT, "shape": ["batch", 3, 8, 8]}), "each of 3 channels"),
    "input: huge": (preprocessing(input={**INPUT, "shape": ["batch", 1, 10**6, 10**6]}), "at most 67,108,864 values"),
    "input: beyond 64 bits": (preprocessing(input={**INPUT, "shape": ["batch", 1, 10**30, 8]}), "at most 67,108,864"),
    "output: other classes": (preprocessing(output={**OUTPUT, "shape": ["batch", 9]}), "output.shape must be"),
    "output: another name": (preprocessing(output={**OUTPUT, "name": "logits"}), "output.name: must be"),
}  # fmt: skip


def with_value(name: str, value: float) -> Change:
    return tensors(lambda found: found[name].view(-1)[0].fill_(value))


TENSORS: dict[str, tuple[Change, str]] = {
    "empty": (text("model.safetensors", ""), "must be a file of tensors"),
    "no tensors": (text("model.safetensors", header(b"{}")), "names, shapes or types"),
    "text": (text("model.safetensors", "no tensors at all"), "must be a file of tensors"),
    "a pickle": (text("model.safetensors", b"\x80\x04cos\nsystem\n(S'true'\ntR."), "must be a file of tensors"),
    "cut off": (cut("model.safetensors", 1000), "must be a file of tensors"),
    "a header of 2^63 bytes": (text("model.safetensors", b"\xff" * 64), "must be a file of tensors"),
    "a header that is no JSON": (text("model.safetensors", header(b"{" * 99)), "must be a file of tensors"),
    "offsets beyond the end": (
        text("model.safetensors", header(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}')),
        "must be a file of tensors",
    ),
    "a shape unlike its bytes": (
        text("model.safetensors", header(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}') + bytes(4)),
        "must be a file of tensors",
    ),
    "an unknown type": (
        text("model.safetensors", header(b'{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}') + bytes(4)),
        "must be a file of tensors",
    ),
    "one missing": (tensors(lambda found: found.pop(WEIGHT)), "names, shapes or types"),
    "one too many": (tensors(lambda found: found.update(extra=torch.zeros(1))), "names, shapes or types"),
    "another name": (tensors(lambda found: found.update(a=found.pop(WEIGHT))), "names, shapes or types"),
    "another shape": (tensors(lambda found: found.update({WEIGHT: found[WEIGHT][:, 1:].clone()})), "names, shapes or"),
    "transposed": (tensors(lambda found: found.update({WEIGHT: found[WEIGHT].T.contiguous()})), "names, shapes or"),
    "halves": (tensors(lambda found: found.update({WEIGHT: found[WEIGHT].half()})), "names, shapes or types"),
    "doubles": (tensors(lambda found: found.update({WEIGHT: found[WEIGHT].double()})), "names, shapes or types"),
    "integers": (tensors(lambda found: found.update({WEIGHT: found[WEIGHT].int()})), "names, shapes or types"),
    "NaN in a weight": (with_value(WEIGHT, float("nan")), f"must be finite; {WEIGHT} has NaN or infinity"),
    "infinity in a weight": (with_value(WEIGHT, float("-inf")), f"must be finite; {WEIGHT} has NaN or infinity"),
    "NaN in a moving mean": (with_value("layers.1.running_mean", float("nan")), "running_mean has NaN or infinity"),
    "NaN in a moving variance": (with_value("layers.1.running_var", float("nan")), "running_var has NaN or infinity"),
    "a negative variance": (with_value("layers.1.running_var", -1.0), "layers.1.running_var has a negative variance"),
}
CONFIG: dict[str, tuple[Change, str]] = {
    "empty": (text("config.yaml", ""), "config.yaml is not the configuration of a network"),
    "a list": (text("config.yaml", "[1, 2]"), "config.yaml is not the configuration of a network"),
    "broken": (text("config.yaml", "data: {kind: [}"), "config.yaml is not the configuration of a network"),
    "not UTF-8": (text("config.yaml", b"\xff\xfe\x00"), "config.yaml is not the configuration of a network"),
    "an unknown setting": (config("epochs:", "epoch:"), "config.yaml is not the configuration of a network"),
    "an unknown activation": (config("elu", "rleu"), "config.yaml is not the configuration of a network"),
    "a space": (config("epochs: 1", "epochs: {int: [1, 3]}"), "nothing left to search"),
    "code": (text("config.yaml", "!!python/object/apply:os.system [true]"), "config.yaml is not the configuration"),
    "another width": (config("width: 16", "width: 17"), "names, shapes or types"),
    "more layers": (config("hidden_layers: 2", "hidden_layers: 3"), "names, shapes or types"),
    "a width of 10^9": (config("width: 16", "width: 1000000000"), "names, shapes or types"),
    "10^9 layers": (config("hidden_layers: 2", "hidden_layers: 1000000000"), "names, shapes or types"),
    "without normalization": (config("batch_norm: after", "batch_norm: none"), "names, shapes or types"),
}  # fmt: skip
FOLDER: dict[str, tuple[Change, str]] = {
    "checksums: empty": (text(CHECKSUMS, ""), "README.md is not as it was exported"),
    "checksums: no text": (text(CHECKSUMS, bytes(range(256))), "README.md is not as it was exported"),
    "checksums: too large": (cut(CHECKSUMS, 10**9), f"{CHECKSUMS} cannot be read as an export: it is larger"),
    "checksums: a pipe": (as_pipe(CHECKSUMS), f"{CHECKSUMS} cannot be read as an export: it is a pipe"),
    "labels: a pipe": (as_pipe("labels.json"), "labels.json cannot be read as an export: it is a pipe"),
    "weights: a pipe": (as_pipe("model.safetensors"), "model.safetensors cannot be read as an export: it is a pipe"),
    "README: a pipe": (as_pipe("README.md"), "README.md cannot be read as an export: it is a pipe"),
}
HOSTILE = {
    f"{group}: {name}": case
    for group, cases in {"JSON": JSON, "tensors": TENSORS, "config": CONFIG, "folder": FOLDER}.items()
    for name, case in cases.items()
}


def sign(export: Path) -> None:
    """Makes an export's checksums right again."""
    (export / CHECKSUMS).unlink()
    write_checksums(export)


@pytest.fixture
def export(exported: Exported, tmp_path: Path) -> Path:
    return shutil.copytree(exported.folder, tmp_path / "export")


def tampered(export: Path, name: str) -> tuple[Path, str]:
    """Changes an export, makes its checksums right again, and returns what is to be said of it."""
    change, message = HOSTILE[name]
    change(export)
    if not name.startswith("folder"):
        sign(export)
    return export, message


def test_there_are_many() -> None:
    assert len(HOSTILE) > 90


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("name", HOSTILE)
def test_predict_says_what_is_wrong(
    name: str, export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, message = tampered(export, name)
    picture = folder.parent / "picture.png"
    Image.new("L", (8, 8), 99).save(picture)
    monkeypatch.setattr(sys, "argv", ["dnntune", "predict", str(folder), str(picture)])
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    assert left.value.code == 2
    assert printed.out == ""
    assert printed.err.startswith(f"dnntune: {folder}")
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_an_export_that_nobody_has_changed_is_read(
    export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(export)
    picture = export.parent / "picture.png"
    Image.new("L", (8, 8), 99).save(picture)
    monkeypatch.setattr(sys, "argv", ["dnntune", "predict", str(export), str(picture)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"{picture}: ")


def test_probabilities_that_are_not_finite_are_refused(export: Path) -> None:
    tensors(lambda found: found["layers.3.weight"].fill_(3e38))(export)
    sign(export)
    loaded = load_export(export)
    with pytest.raises(DnntuneError, match="probabilities must be finite; those of image 0 are not"):
        loaded.probabilities(torch.full((1, 1, 8, 8), 255, dtype=torch.uint8))


SERVED: dict[str, tuple[Change, str]] = {
    "ONNX: empty": (text("model.onnx", ""), "model.onnx cannot be loaded by ONNX Runtime"),
    "ONNX: text": (text("model.onnx", "no model"), "model.onnx cannot be loaded by ONNX Runtime"),
    "ONNX: cut off": (cut("model.onnx", 700), "model.onnx cannot be loaded by ONNX Runtime"),
    "ONNX: half": (lambda export: cut("model.onnx", (export / "model.onnx").stat().st_size // 2)(export), "ONNX Runt"),
    "ONNX: another's": (lambda export: (export / "model.onnx").write_bytes(other_onnx()), "must make probabilities"),
    "labels: too few": (labels(lambda names: names[1:]), "must make probabilities (batch, 9) of images"),
    "labels: numbers": (labels(lambda names: [*range(10)]), "labels.json must hold a list of different names"),
    "labels: one twice": (labels(lambda names: ["1", *names[1:]]), "labels.json must hold a list of different names"),
    "labels: an object": (labels(lambda names: {}), "labels.json must hold a list of different names"),
    "labels: deep": (text("labels.json", "[" * 100_000), "labels.json must hold a list of different names"),
    "labels: NaN": (text("labels.json", "[NaN, 1]"), "labels.json must hold a list of different names"),
    "labels: cut off": (text("labels.json", '["a", '), "labels.json must hold a list of different names"),
    "labels: too large": (cut("labels.json", 2**24 + 1), "it is larger than 16,777,216 bytes"),
    "folder: ONNX is a pipe": (as_pipe("model.onnx"), "model.onnx is no regular file"),
    "folder: ONNX is missing": (lambda export: (export / "model.onnx").unlink(), "model.onnx is missing"),
    "folder: no labels": (lambda export: (export / "labels.json").unlink(), "labels.json is missing"),
}


def other_onnx() -> bytes:
    """Returns a model that works and is no classifier of images."""
    from onnx import TensorProto, helper

    images, other = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("images", "other"))
    graph = helper.make_graph([helper.make_node("Relu", ["images"], ["other"])], "other", [images], [other])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.fixture
def serve() -> Callable[[Path], Any]:
    """Loads an export as MLflow does where it serves it."""

    def load(export: Path) -> Any:
        model = functions_of(SERVED_MODEL)["ServedModel"]()
        model.load_context(SimpleNamespace(artifacts={"export": str(export)}))
        return model

    return load


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("name", SERVED)
def test_the_served_model_says_what_is_wrong(name: str, export: Path, serve: Callable[[Path], Any]) -> None:
    change, message = SERVED[name]
    change(export)
    if not name.startswith("folder"):
        sign(export)
    with pytest.raises(ValueError, match=re.escape(message)):
        serve(export)


def test_the_served_model_gives_no_probabilities_that_are_not_finite(
    export: Path, serve: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = serve(export)
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8).numpy()
    assert len(model.predict(None, images)["labels"]) == 2
    found = model.session.run(["probabilities"], {"images": images})
    found[0][1, 0] = float("nan")
    monkeypatch.setattr(model, "session", SimpleNamespace(run=lambda *_: found))
    with pytest.raises(ValueError, match="no finite probabilities"):
        model.predict(None, images)
