"""A folder of images as rows; grey values made binary, and pixels made continuous."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from homeostat.data import binarize, dequantize, open_rows

folder = Path(tempfile.mkdtemp())
ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
for number in range(20):
    Image.fromarray(np.roll(ramp, number, axis=1)).save(folder / f"{number:03}.png")

rows = open_rows(folder)
images = rows.read(range(20))
print(f"{rows.num_rows} images of shape {rows.shape}, {rows.dtype}")

generator = np.random.default_rng(0)
black_or_white = binarize(images, generator=generator)  # anew in every epoch
continuous = dequantize(images, generator=generator)
print(f"share of ink {black_or_white.mean():.3f}, mean grey {images.mean() / 255:.3f}")
assert images.shape == black_or_white.shape == (20, 32, 32)
assert abs(black_or_white.mean() - images.mean() / 255) < 0.01
assert continuous.min() >= 0 and continuous.max() < 1
