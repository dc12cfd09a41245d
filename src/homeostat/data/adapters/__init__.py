"""Formats that need a library which is not installed by default: parquet, MIDI, and video."""

from ._midi import read_midi as read_midi
from ._parquet import parquet_blocks as parquet_blocks, parquet_names as parquet_names
from ._video import read_video as read_video
