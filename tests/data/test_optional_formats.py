"""Formats that need an optional library: MIDI, video."""

import fractions

import numpy as np
import pytest

from homeostat.data import Frames, Rolls, SequenceFormat, open_sequences
from homeostat.results import BadInputError

RANDOM = np.random.default_rng(0)


def song(mido, events, ticks=480):
    """One track of (wait in ticks, kind, note, velocity, channel)."""
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=300_000))
    for wait, kind, note, velocity, channel in events:
        track.append(mido.Message(kind, note=note, velocity=velocity, time=wait, channel=channel))
    made = mido.MidiFile(ticks_per_beat=ticks)
    made.tracks.append(track)
    return made


def test_piano_rolls(tmp_path):
    mido = pytest.importorskip("mido")
    events = [
        (0, "note_on", 60, 80, 0),  # From step 0, struck again at step 2, to step 4.
        (240, "note_on", 60, 80, 0),
        (0, "note_on", 36, 99, 9),  # Percussion.
        (10, "note_on", 64, 80, 1),  # From 250 ticks, nearest to step 2, for 20 ticks: one step.
        (20, "note_on", 64, 0, 1),
        (210, "note_off", 60, 0, 0),
        (240, "note_on", 20, 80, 0),  # Below the range.
        (60, "note_off", 20, 0, 0),
        (0, "note_on", 108, 80, 0),  # Not ended: until the end of the track.
        (180, "note_off", 1, 0, 0),
    ]
    song(mido, events).save(tmp_path / "a.mid")
    found = open_sequences(tmp_path / "a.mid", SequenceFormat(rolls=Rolls(steps_per_beat=4)))
    roll = found.read(0).values
    assert roll.dtype == np.uint8 and found.shape == (88,) and not found.timed
    sounding = {(int(step), int(key) + 21) for step, key in np.argwhere(roll)}
    # 780 ticks are six and a half steps of 120; the half goes up. The track ends at 960, step 8.
    assert sounding == {(0, 60), (1, 60), (2, 60), (3, 60), (2, 64), (7, 108)} and len(roll) == 8
    coarse = open_sequences(tmp_path / "a.mid", SequenceFormat(rolls=Rolls(1, 60, 64))).read(0).values
    assert coarse.tolist() == [[1, 0, 0, 0, 0], [1, 0, 0, 0, 1]]
    (tmp_path / "b.mid").write_bytes((tmp_path / "a.mid").read_bytes()[:-20])
    with pytest.raises(BadInputError, match=r"b\.mid cannot be read"):
        open_sequences(tmp_path / "b.mid")
    with pytest.raises(BadInputError, match="notes from 100 to 107"):
        open_sequences(tmp_path / "a.mid", SequenceFormat(rolls=Rolls(4, 100, 107)))
    song(mido, events, ticks=0xE728 - 0x10000).save(tmp_path / "frames.mid")
    with pytest.raises(BadInputError, match="counts in frames"):
        open_sequences(tmp_path / "frames.mid")


def test_videos(tmp_path):
    av = pytest.importorskip("av")
    # Large blocks of grey, which compression leaves as they are but for a few levels.
    levels = RANDOM.integers(40, 220, (7, 2, 3)).astype(np.uint8)
    frames = np.kron(levels, np.ones((1, 32, 32), np.uint8))
    shown = np.array([0, 1, 2, 5, 6, 7, 9])
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 4_000_000
        for frame, moment in zip(frames, shown, strict=True):
            picture = av.VideoFrame.from_ndarray(np.repeat(frame[..., None], 3, axis=2), format="rgb24")
            picture.pts, picture.time_base = int(moment), fractions.Fraction(1, 10)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    found = open_sequences(tmp_path / "a.mp4", SequenceFormat(frames=Frames(grey=True)), cache=tmp_path / "cache")
    part = found.read(0)
    assert part.values.shape == frames.shape
    # Frames that were left out stay left out.
    np.testing.assert_allclose(part.times, shown / 10)
    assert np.abs(part.values.astype(int) - frames).mean() < 4
    small = open_sequences(tmp_path / "a.mp4", SequenceFormat(frames=Frames(2, 2)), cache=tmp_path / "cache")
    assert small.shape == (2, 2, 3) and small.lengths.tolist() == [7]
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:100])
    with pytest.raises(BadInputError, match=r"a video, but .*cut\.mp4 cannot be read"):
        open_sequences(tmp_path / "cut.mp4", cache=tmp_path / "cache")
