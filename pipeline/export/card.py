"""The model card: data, training, figures, limits, weights, in words (Mitchell et al., FAccT 2019)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.cnn import CnnConfig
from pipeline.config.loss import CrossEntropy, Focal, LossBlock
from pipeline.config.model import BackboneConfig, HiddenLayers, LayerSettings, MlpConfig, ModelBlock, top_layers
from pipeline.config.trial import TrialConfig
from pipeline.core.printing import markdown, one_line
from pipeline.data.image_data import LabeledImages
from pipeline.export.environment import weights_origin
from pipeline.export.formats.checking import TOLERANCE
from pipeline.space.tree import flatten

MOST_CLASSES = 20


def model_card(
    config: TrialConfig,
    *,
    images: LabeledImages,
    class_names: Sequence[str],
    metrics: Mapping[str, Any],
    num_parameters: int,
    notes: Sequence[str],
) -> str:
    """Writes a model card in Markdown.

    Args:
        config: What was trained.
        images: How images are prepared, and those that the files were checked on.
        class_names: A name for each class.
        metrics: Figures, in any depth.
        num_parameters: Of the network.
        notes: What else a reader should know.
    """
    channels, height, width = images.images.shape[1:]
    dtype = str(images.images.dtype).removeprefix("torch.")
    named = ", ".join(map(markdown, class_names[:MOST_CLASSES])) + (", ..." if len(class_names) > MOST_CLASSES else "")
    size = f"{height} x {width} pixels"
    data = markdown(config.data.kind)
    sections = {
        f"Image classifier: {_kind(config.model)} for {data}": [
            f"It tells {len(class_names)} classes apart: {named}. It has {num_parameters:,} parameters.",
        ],
        "Use": [
            f"`dnntune predict DIR IMAGES...` from this folder (`DIR`), or `model.onnx` or `model.pt2`: the input "
            f"`images` is {dtype}, (batch, {channels}, {height}, {width}), as the data set holds images; the output "
            f"`probabilities` is (batch, {len(class_names)}), float32. Preprocessing is part of the graph.",
            "`dnntune train config.yaml` trains it again; `sha256sum -c SHA256SUMS` says whether a file has changed.",
        ],
        "Data": list(_data(config, images, size)),
        "Training": list(_training(config)),
        "Figures": ["\n".join(_table(metrics)) if metrics else "None were given."],
        "Pretrained weights": list(_weights(config)),
        "Limits": [
            "- Any image gets one of the classes, also one that shows none of them.",
            f"- Images unlike those of {data}, of another camera, crop, contrast or time, may be "
            "classified far worse than the figures say.",
            "- Probabilities are as well calibrated as the figures say, on such images; nobody looked for groups of "
            "images on which the model is worse.",
            f"- `model.onnx` and `model.pt2` were checked on {len(images):,} images: the same labels, probabilities "
            f"within {TOLERANCE} of the trained model's, in float32 on a processor.",
            *(f"- {one_line(note)}" for note in notes),
        ],
    }
    (title, first), *others = sections.items()
    text = [f"# {title}", *first]
    for heading, paragraphs in others:
        separator = "\n" if heading == "Limits" else "\n\n"
        text += [f"## {heading}", separator.join(paragraphs)]
    return "\n\n".join(text) + "\n"


def _data(config: TrialConfig, images: LabeledImages, size: str) -> Iterator[str]:
    data, channels = config.data, images.images.shape[1]
    if images.has_numbers:
        yield f"{markdown(data.kind)}: rows of {channels:,} numbers."
    else:
        colors = {1: "gray", 3: "RGB"}.get(channels, f"{channels}-channel")
        yield f"{markdown(data.kind)}: {colors} images of {size}."
    if images.columns is not None:
        names = ", ".join(markdown(column.name) for column in images.columns)
        yield f"They are made of the columns {names}, as `preprocessing.json` says: `dnntune predict DIR TABLE`."
    valid = f"{data.valid_fraction:.0%} of the training images, the same share of every class (seed {data.split_seed})"
    yield f"Validated on {valid}, unless the source brings a validation set of its own."
    if data.max_train_images is not None:
        yield f"Trained on at most {data.max_train_images:,} images."


def _kind(model: ModelBlock) -> str:
    if isinstance(model, BackboneConfig):
        return f"the timm backbone {markdown(model.name)}"
    ours = {MlpConfig: "a perceptron", CnnConfig: "a convolutional network"}
    return ours.get(type(model), f"a network of kind {markdown(model.kind)}")


def _training(config: TrialConfig) -> Iterator[str]:
    if isinstance(config.model, BackboneConfig):
        dropped = f", without its top {config.model.drop_top_stages} stages" if config.model.drop_top_stages else ""
        start = "random weights" if config.model.pretrained is False else "pretrained weights"
        backbone = f"{markdown(config.model.name)} from {start}{dropped}; transfer: {config.transfer.kind}"
        yield f"Backbone {backbone}; its head: {_layers(config.model.head)}"
    elif isinstance(config.model, CnnConfig):
        yield f"Convolutions: {_convolutions(config.model)}. Head: {_layers(config.model.head)}"
    elif (layers := top_layers(config.model)) is not None:
        yield f"Layers: {_layers(layers)}"
    else:
        settings = config.model.model_dump(mode="json", exclude={"kind"})
        yield f"Settings: {', '.join(f'{markdown(name)} {markdown(str(value))}' for name, value in settings.items())}."
    yield (
        f"Optimizer {config.optimizer.kind} at learning rate {config.optimizer.lr:g}, schedule {config.schedule.kind}, "
        f"clipping {config.clip.kind}, batches of {config.batch_size}, at most {config.epochs} epochs, the weights of "
        f"the best one by {config.early_stopping.monitor}; augmentation {config.augment.kind}, loss "
        f"{_loss(config.loss)}, precision {config.precision}, seed {config.seed}. All settings are in `config.yaml`."
    )


def _loss(loss: LossBlock) -> str:
    own = ""
    if isinstance(loss, CrossEntropy):
        own = f"label smoothing {loss.label_smoothing:g}, "
    elif isinstance(loss, Focal):
        own = f"gamma {loss.gamma:g}, "
    weights = loss.class_weights if isinstance(loss.class_weights, str) else ", ".join(map(str, loss.class_weights))
    return f"{markdown(loss.kind)} ({own}class weights {weights})"


def _layers(layers: HiddenLayers) -> str:
    if not layers.widths:
        return "a linear classifier."
    units = " - ".join(map(str, layers.widths))
    return f"hidden units {units}, {layers.activation}, {_norm(layers)}, {'dropout' if layers.drops else 'no dropout'}."


def _convolutions(model: CnnConfig) -> str:
    halved = {"max": "max pooling", "average": "average pooling", "stride": "strides of 2"}[model.pooling]
    channels = " - ".join(map(str, model.stage_channels))
    return (
        f"stages of {channels} channels with {model.blocks} {model.block} block{'s' if model.blocks > 1 else ''} each, "
        f"kernels of {model.kernel_size} x {model.kernel_size}, {model.activation}, {_norm(model)}, {halved}"
    )


def _norm(layers: LayerSettings) -> str:
    if layers.batch_norm == "none":
        return "no batch normalization"
    return f"batch normalization {layers.batch_norm} the activation"


def _table(metrics: Mapping[str, Any]) -> Iterator[str]:
    yield "| figure | value |\n| --- | --- |"
    for name, value in flatten(dict(metrics)).items():
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        yield f"| {markdown(name)} | {markdown(shown)} |"


def _weights(config: TrialConfig) -> Iterator[str]:
    if not isinstance(config.model, BackboneConfig) or config.model.pretrained is False:
        yield "None: everything was learned from the data above."
        return
    origin, licence = weights_origin(config.model)
    yield f"From {markdown(origin)}. Their licence: {markdown(licence)}."
    yield "What the data that they were trained on allows is another question, which no licence of the weights answers."
