"""Data sets, augmentation and batches."""

from fcn_keras.data.augmentation import Augmentation
from fcn_keras.data.catalog import open_dataset
from fcn_keras.data.images import read_image, read_mask
from fcn_keras.data.pipeline import steps_per_epoch, train_batches
from fcn_keras.data.source import FileSource, Source, Subset

__all__ = [
    "Augmentation",
    "FileSource",
    "Source",
    "Subset",
    "open_dataset",
    "read_image",
    "read_mask",
    "steps_per_epoch",
    "train_batches",
]
