"""The data is what its description says, and nothing leaks from one part to another."""

from __future__ import annotations

import numpy as np

from helpers.lessons.digits import Digits, load_digits


def test_shapes_dtypes_and_range(digits: Digits) -> None:
    for part, count in [("train", 1197), ("validation", 240), ("test", 360)]:
        images, labels = getattr(digits, f"{part}_images"), getattr(digits, f"{part}_labels")
        assert images.shape == (count, 8, 8, 1)
        assert images.dtype == np.float32
        assert (images.min(), images.max()) == (0.0, 1.0)
        assert labels.shape == (count,)
        assert labels.dtype == np.int64
        assert set(labels) == set(range(10))


def test_no_image_is_in_two_parts(digits: Digits) -> None:
    parts = (digits.train_images, digits.validation_images, digits.test_images)
    images = [image.tobytes() for part in parts for image in part]
    assert len(images) == len(set(images)) == 1797


def test_every_part_has_the_classes_in_proportion(digits: Digits) -> None:
    for labels in (digits.train_labels, digits.validation_labels, digits.test_labels):
        shares = np.bincount(labels) / len(labels)
        assert np.all(np.abs(shares - 0.1) < 0.01)


def test_an_image_looks_like_its_label(digits: Digits) -> None:
    # A zero is empty in the middle, a one is not: images and labels stayed together.
    middle = digits.test_images[:, 3:5, 3:5, 0].mean(axis=(1, 2))
    assert middle[digits.test_labels == 0].mean() < 0.2 < middle[digits.test_labels == 1].mean()


def test_the_seed_decides_the_split(digits: Digits) -> None:
    assert np.array_equal(load_digits().test_images, digits.test_images)
    assert not np.array_equal(load_digits(seed=1).test_images, digits.test_images)


def test_repr_is_one_line(digits: Digits) -> None:
    expected = "Digits(train=1197, validation=240, test=360, image shape=(8, 8, 1))"
    assert repr(digits) == expected
