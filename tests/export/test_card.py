"""A model card of names that somebody else has chosen."""

import re

import torch

from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import LabeledImages
from pipeline.export.card import model_card

NAMES = ("\x1b[31mcat", "<img src=x onerror=alert(1)>", "[dog](javascript:alert(1))", "a|b\n# c", "\u202egnp.txt")


def test_names_of_classes_are_no_markup() -> None:
    images = LabeledImages(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5), torch.zeros(1), torch.ones(1))
    config = TrialConfig.model_validate({"data": {"kind": "digits"}})
    metrics = {"study": "<b>`s`|", "best": {NAMES[3]: 0.5}}
    notes = ["of \x1b[31m"]
    card = model_card(config, images=images, class_names=NAMES, metrics=metrics, num_parameters=1, notes=notes)
    assert r"\\x1b\[31mcat, &lt;img src=x onerror=alert(1)&gt;, \[dog\](javascript:alert(1)), a\|b\\n\# c" in card
    assert r"| study | &lt;b&gt;\`s\`\| |" in card
    assert r"| best.a\|b\\n\# c | 0.5 |" in card
    assert r"- of \x1b[31m" in card
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", card)
