"""Formats that need a library which is not installed by default: MIDI and video."""

from ._midi import read_midi as read_midi
from ._video import read_video as read_video
