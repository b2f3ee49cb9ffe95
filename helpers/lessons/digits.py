"""The data of every lesson: 1,797 real handwritten digits that ship inside scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sklearn.datasets
from sklearn.model_selection import train_test_split

VALIDATION_IMAGES = 240
TEST_IMAGES = 360


@dataclass(frozen=True, repr=False)
class Digits:
    """Images and labels in three parts that do not overlap.

    Images are float32 of shape ``(n, 8, 8, 1)`` with values in [0, 1]. Labels are int64 of shape
    ``(n,)`` with values 0 to 9.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def __repr__(self) -> str:
        return (
            f"Digits(train={len(self.train_labels)}, validation={len(self.validation_labels)}, "
            f"test={len(self.test_labels)}, image shape={self.train_images.shape[1:]})"
        )


def load_digits(seed: int = 0) -> Digits:
    """Load the digits and split them, with every class in the same proportion in each part.

    The images are the test part of the UCI "Optical Recognition of Handwritten Digits" data set:
    8 x 8 pixels with 17 grey levels (0 to 16), here divided by 16. Nothing is downloaded.

    Args:
        seed: decides which image goes to which part. The same seed gives the same split.
    """
    bunch = sklearn.datasets.load_digits()
    images = (bunch.images[..., np.newaxis] / 16.0).astype(np.float32)
    labels = bunch.target.astype(np.int64)

    images, test_images, labels, test_labels = train_test_split(
        images, labels, test_size=TEST_IMAGES, random_state=seed, stratify=labels
    )
    train_images, validation_images, train_labels, validation_labels = train_test_split(
        images, labels, test_size=VALIDATION_IMAGES, random_state=seed, stratify=labels
    )
    train, validation = (train_images, train_labels), (validation_images, validation_labels)
    return Digits(*train, *validation, test_images, test_labels)
