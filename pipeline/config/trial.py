"""The configuration of one trial: settings that obey the rules, as plain values and back."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationInfo, model_validator

from pipeline.config.model import BackboneConfig
from pipeline.config.rules.table import broken_rules
from pipeline.config.settings import TrialSettings


class TrialConfig(TrialSettings):
    """Everything that determines what a training computes, except for the machine."""

    @model_validator(mode="before")
    @classmethod
    def _transfer_follows_from_the_weights(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "transfer" not in fields and _is_pretrained(fields.get("model")):
            return {**fields, "transfer": {"kind": "frozen"}}
        return fields

    def to_dict(self) -> dict[str, Any]:
        """Returns all settings as plain values that YAML and JSON can hold, the kind of a block first."""
        settings_dict: dict[str, Any] = _kind_first(self.model_dump(mode="json"))
        return settings_dict

    def replaced(self, settings: Mapping[str, Any]) -> Self:
        """Returns this configuration with other settings.

        Args:
            settings: From paths (``model.activation``, or a block such as ``schedule``) to plain values.

        Raises:
            pydantic.ValidationError: The result breaks a rule.
        """
        settings_dict = self.to_dict()
        for path, value in settings.items():
            *blocks, name = path.split(".")
            block = settings_dict
            for key in blocks:
                block = block[key]
            block[name] = value
        return type(self).model_validate(settings_dict)

    @model_validator(mode="after")
    def _obeys_the_rules(self, info: ValidationInfo) -> Self:
        if info.context is not None and not info.context.get("check_rules", True):
            return self
        if broken := broken_rules(self):
            raise ValueError("; ".join(f"{path}: {message}" for path, message in broken))
        return self


def _is_pretrained(model: Any) -> bool:
    if isinstance(model, BackboneConfig):
        return model.pretrained is not False
    return isinstance(model, dict) and model.get("kind") == "backbone" and model.get("pretrained", True) is not False


def _kind_first(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _kind_first(value[name]) for name in sorted(value, key=lambda name: name != "kind")}
