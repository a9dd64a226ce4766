import pytest

from pipeline.config.data import Digits
from pipeline.config.trial import TrialConfig
from pipeline.scheduling.drift import data_profile, drift

NOW = {"fingerprint": "a", "images": 1000, "classes": {"cat": 0.5, "dog": 0.3, "owl": 0.2}}


def test_what_data_are() -> None:
    facts = data_profile(TrialConfig(data=Digits()), None)
    assert facts == data_profile(TrialConfig(data=Digits(split_seed=3)), None)  # however split
    assert sum(facts["classes"].values()) == pytest.approx(1.0, abs=1e-5)
    assert len(facts["classes"]) == 10


def test_the_first_run_has_nothing_to_compare_with() -> None:
    assert "first run" in drift(NOW, None)


def test_the_same_data_are_said_to_be_the_same() -> None:
    assert drift(NOW, dict(NOW)) == "the data are those of the last run: 1,000 images"


def test_classes_that_come_go_and_grow_are_told() -> None:
    before = {"fingerprint": "b", "images": 900, "classes": {"cat": 0.502, "dog": 0.45, "cow": 0.048}}
    said = drift(NOW, before)
    assert said.startswith("the data have changed: 1,000 images, 900 in the last run; class balance: ")
    assert "dog 45.0% to 30.0%" in said
    assert "cow 4.8% to absent" in said
    assert "owl absent to 20.0%" in said
    assert "cat" not in said


def test_other_images_with_the_same_balance() -> None:
    assert drift(NOW, {**NOW, "fingerprint": "b"}).endswith("class balance: as before")
