"""Loaders: NumPy only."""

from ._dsprites import (
    DSpritesArchive as DSpritesArchive,
    dsprites_index as dsprites_index,
    find_dsprites as find_dsprites,
    read_dsprites as read_dsprites,
)
