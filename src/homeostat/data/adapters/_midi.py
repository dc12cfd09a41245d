"""Piano rolls from Standard MIDI Files, by mido."""

from pathlib import Path

import numpy as np

from ...results import BadInputError
from .._places import lacks

_DRUMS = 9
"""Channel of percussion in General MIDI, counted from 0; its note numbers are instruments and no pitches."""


def read_midi(file: Path, *, steps_per_beat: int, lowest: int, highest: int) -> np.ndarray:
    """Zeros and ones of shape (steps, highest - lowest + 1), 1 where a note sounds.

    A note sounds from the step nearest to its beginning up to the step nearest to its end, and in one step at least.
    Beats are quarter notes, so that changes of tempo change nothing. Percussion, pedals and notes beyond the range are
    passed over.

    Raises:
        BadInputError: mido is not installed, or the file is damaged, counts time in frames, or holds no notes.

    References:
        MIDI Manufacturers Association (1996), Standard MIDI Files 1.0.
    """
    try:
        import mido
    except ImportError as error:
        raise lacks("mido", "midi", file) from error
    try:
        song = mido.MidiFile(file, clip=True)
    except (OSError, EOFError, ValueError, KeyError, IndexError, mido.KeySignatureError) as error:
        raise BadInputError(
            f"Expected a MIDI file, but {file} cannot be read ({type(error).__name__}: {error}). It is damaged or another "
            f"file."
        ) from error
    if not 0 < song.ticks_per_beat < 0x8000:
        raise BadInputError(f"Expected a MIDI file that counts time in beats, but {file} counts in frames: convert it.")
    notes = _notes(song, lowest, highest)
    if not notes:
        raise BadInputError(f"Expected notes from {lowest} to {highest} in {file}, found none: choose another range.")
    ticks = song.ticks_per_beat

    def step(tick: int) -> int:
        # The nearest step, a half upwards.
        return (2 * tick * steps_per_beat + ticks) // (2 * ticks)

    spans = [(note, step(start), max(step(end), step(start) + 1)) for note, start, end in notes]
    roll = np.zeros((max(end for _, _, end in spans), highest - lowest + 1), np.uint8)
    for note, start, end in spans:
        roll[start:end, note - lowest] = 1
    return roll


def _notes(song: object, lowest: int, highest: int) -> list[tuple[int, int, int]]:
    """Note number, first tick and last tick of every note of every track."""
    found = []
    for track in song.tracks:  # pyright: ignore[reportAttributeAccessIssue]
        tick, sounding = 0, {}
        for message in track:
            tick += message.time
            if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
                continue
            key = (message.channel, message.note)
            # A note that is struck again ends before; velocity 0 is another way to say that it ends.
            if key in sounding:
                found.append((message.note, sounding.pop(key), tick))
            if message.type == "note_on" and message.velocity > 0:
                sounding[key] = tick
        found += [(note, start, tick) for (_, note), start in sounding.items()]
    return [note for note in found if lowest <= note[0] <= highest]
