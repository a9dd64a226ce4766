"""What stands in an export's JSON files: one definition for those who write them and those who read them."""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)  # fmt: skip
from typing_extensions import TypedDict

from pipeline.config.schema import short_repr
from pipeline.core.broken_rule import broken_rule
from pipeline.core.filesystem.files import read_bounded, reason
from pipeline.data.columns import Column
from pipeline.export.errors import ExportError
from pipeline.plugins.needed import NeededPlugin

# Names of a hundred thousand classes have room in it.
MOST_BYTES = 2**24
# Of one image; the largest that data.image_size allows have a quarter of them.
MOST_VALUES = 2**26
# What a float32 can be.
Single = Annotated[float, Field(ge=-3.4e38, le=3.4e38)]
T = TypeVar("T")


class Described(BaseModel):
    """Plain values, none of them converted, none missing or unknown, no NaN and no infinity."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Input(Described):
    """The images that a model takes, (batch, channels, height, width)."""

    name: Literal["images"]
    dtype: Literal["uint8", "float32"]
    shape: tuple[Literal["batch"], PositiveInt, PositiveInt, PositiveInt]


class Output(Described):
    """The probabilities that it gives, (batch, classes)."""

    name: Literal["probabilities"]
    dtype: Literal["float32"]
    shape: tuple[Literal["batch"], PositiveInt]


class TableColumn(Described):
    """A column of a table; see `pipeline.data.columns.Column`."""

    name: str
    categories: tuple[str, ...] | None
    fill: Single | None
    says_missing: bool

    def column(self) -> Column:
        """Returns it as what encodes cells."""
        return Column(self.name, self.categories, self.fill, self.says_missing)


class Preprocessing(Described):
    """preprocessing.json: what an export takes, does to it, and gives.

    Attributes:
        input: What it takes.
        output: What it gives.
        steps: What is done to images, in words.
        mean: What is subtracted, by channel.
        scale: What is multiplied with then, by channel.
        image_size: To which height and width images are brought then; None leaves them as they are.
        columns: Which columns of a table the channels are made of; None where they are made of images or arrays.
    """

    input: Input
    output: Output
    steps: tuple[str, ...]
    mean: tuple[Single, ...]
    scale: tuple[Annotated[Single, Field(gt=0.0)], ...]
    image_size: Annotated[int, Field(ge=1, le=2048)] | None
    columns: tuple[TableColumn, ...] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that it takes."""
        return self.input.shape[1:]

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        channels = self.image_shape[0]
        if math.prod(self.image_shape) > MOST_VALUES:
            raise ValueError(f"an image must have at most {MOST_VALUES:,} values; input.shape has more")
        if len(self.mean) != len(self.scale) or len(self.mean) not in {channels, 3 if channels == 1 else channels}:
            raise ValueError(
                f"mean and scale must have a value for each of {channels} channels; got {len(self.mean)} and "
                f"{len(self.scale)}"
            )
        if self.columns is not None and sum(len(each.column().is_scaled) for each in self.columns) != channels:
            raise ValueError(f"columns must become as many values as the input has channels, {channels}")
        return self


def _unlike(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) < len(labels):
        raise ValueError("class names must be different; one occurs twice")
    return labels


def _finite(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    json.dumps(values, allow_nan=False)
    return values


class Environment(TypedDict, total=False):
    """environment.json, of which only the plug-ins that the configuration needs are read."""

    plugins: list[NeededPlugin]


_STRICT = ConfigDict(strict=True)
ENVIRONMENT: TypeAdapter[Environment] = TypeAdapter(Environment)
PREPROCESSING: TypeAdapter[Preprocessing] = TypeAdapter(Preprocessing)
LABELS: TypeAdapter[tuple[str, ...]] = TypeAdapter(
    Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2), AfterValidator(_unlike)],
    config=_STRICT,
)
METRICS: TypeAdapter[dict[str, Any]] = TypeAdapter(
    Annotated[dict[str, JsonValue], AfterValidator(_finite)], config=_STRICT
)


def read_json(file: Path, kind: TypeAdapter[T]) -> T:
    """Returns what a JSON file describes.

    Raises:
        ExportError: It is not there, too large, no JSON, or describes something else; names the file and the place.
    """
    remedy = "Export the model again"
    try:
        return kind.validate_json(read_bounded(file, MOST_BYTES))
    except OSError as error:
        raise ExportError(f"{file} cannot be read: {reason(error)}. {remedy}") from None
    except ValidationError as error:
        path, rule, first = broken_rule(error)
        index = f"{path}: " if path else ""
        got = "" if first["type"] in ("json_invalid", "value_error") else f"; got {short_repr(first['input'])}"
        raise ExportError(f"{file} is not what an export has there: {index}{rule}{got}. {remedy}") from None
