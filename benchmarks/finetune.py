"""Images a second of fine-tuning a whole backbone, channels last: dnntune's step beside timm's recipe.

The same network from random weights in bfloat16 (`--precision`), the same images (uint8, random, on the device
already), label smoothing and Nesterov's SGD; an epoch of each in alternation:

- light: dnntune's training as `transfer: {unfreeze_top_stages: all, frozen_epochs: 0}` and `augment: light` give it;
- plain: the same without augmentation;
- timm: the step as timm's train script writes it, autotuned convolutions and the loss read at every step included.
  The script is not part of timm's package, so its recipe is written down here. Its data loader decodes and augments on
  the processor; here its images are on the device as well, and it augments nothing.

Ratios are taken pair by pair. Without a CUDA device nothing is measured, unless `--device cpu` asks for it.

    python -m benchmarks.finetune --pairs 7
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence

import timm
import torch
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2

from pipeline.config.data import Cifar10
from pipeline.config.loss import CrossEntropy
from pipeline.config.model import BackboneConfig
from pipeline.config.training import Constant, EarlyStopping, Sgd
from pipeline.config.transfer import AugmentConfig, LightAugmentation, NoAugmentation, Unfreeze
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.training.start import start

NUM_CLASSES = 1000
LR, MOMENTUM, WEIGHT_DECAY, SMOOTHING = 1e-3, 0.9, 2e-5, 0.1
# Of uniformly distributed bytes.
MEAN, DEVIATION = 127.5, 73.9


def random_data(num_images: int, num_valid: int, image_size: int, device: torch.device) -> ImageData:
    """Returns random images, (3, image_size, image_size) each, with random labels."""
    generator = torch.Generator(device).manual_seed(0)
    mean = torch.full((1, 3, 1, 1), MEAN, device=device)

    def part(count: int) -> LabeledImages:
        shape = (count, 3, image_size, image_size)
        images = torch.randint(256, shape, dtype=torch.uint8, device=device, generator=generator)
        labels = torch.randint(NUM_CLASSES, (count,), device=device, generator=generator)
        return LabeledImages(images, labels, mean, torch.full_like(mean, 1.0 / DEVIATION))

    return ImageData(part(num_images), part(num_valid), tuple(map(str, range(NUM_CLASSES))))


def dnntune(options: argparse.Namespace, data: ImageData, augment: AugmentConfig) -> Iterator[float]:
    """Yields images a second of each epoch of dnntune's training, validation not counted."""
    config = TrialConfig(
        data=Cifar10(),  # not read
        model=BackboneConfig(name=options.model, pretrained=False, image_size=options.image_size),
        transfer=Unfreeze(frozen_epochs=0, unfreeze_top_stages="all", lr_factor=1.0),
        augment=augment,
        optimizer=Sgd(lr=LR, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY),
        schedule=Constant(),
        loss=CrossEntropy(label_smoothing=SMOOTHING),
        batch_size=options.batch_size,
        epochs=options.pairs + 1,
        early_stopping=EarlyStopping(patience=None),
        precision=options.precision,
    )
    for epoch in start(config, data).epochs:
        yield epoch.samples_per_second


def timm_recipe(options: argparse.Namespace, data: ImageData) -> Iterator[float]:
    """Yields images a second of each epoch, by the recipe of timm's train script."""
    images, labels, device = data.train.images, data.train.labels, data.train.labels.device
    model = timm.create_model(options.model, num_classes=NUM_CLASSES).to(device).to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    loss_of = LabelSmoothingCrossEntropy(SMOOTHING)
    mean, deviation = data.train.mean, 1.0 / data.train.scale
    model.train()
    while True:
        started = time.perf_counter()
        # The script's choice, for its own steps alone.
        with torch.backends.cudnn.flags(enabled=True, benchmark=device.type == "cuda"):
            for rows in torch.randperm(len(labels), device=device).split(options.batch_size):
                inputs = images[rows].float().sub_(mean).div_(deviation)
                inputs = inputs.contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
                    loss = loss_of(model(inputs), labels[rows])
                loss.backward()
                optimizer.step()
                loss.item()
                optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield len(labels) / (time.perf_counter() - started)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps of an epoch")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured")
        return
    data = random_data(options.batch_size * options.steps, options.batch_size, options.image_size, device)
    ways = {
        "light": dnntune(options, data, LightAugmentation()),
        "plain": dnntune(options, data, NoAugmentation()),
        "timm": timm_recipe(options, data),
    }
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for pair in range(options.pairs + 1):
        for way, epochs in ways.items():
            speed = next(epochs)
            if pair > 0:  # the first epoch warms up
                speeds[way].append(speed)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(f"{name}, torch {torch.__version__}, timm {timm.__version__}; {options.model} at {options.image_size} pixels")
    print(f"{options.precision}, batch {options.batch_size}, {options.pairs} pairs; images a second, median (range):")
    for way, values in speeds.items():
        print(f"  {way:5} {statistics.median(values):9,.1f} ({min(values):,.1f} to {max(values):,.1f})")
    for way in ("light", "plain"):
        _print_ratio(f"{way} / timm", speeds[way], speeds["timm"])


def _print_ratio(label: str, above: Sequence[float], below: Sequence[float]) -> None:
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    print(f"{label}: median {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")


if __name__ == "__main__":
    main()
