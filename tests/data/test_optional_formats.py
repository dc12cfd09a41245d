"""Formats that need an optional library: parquet, MIDI, video."""

import fractions

import numpy as np
import pytest

from homeostat.data import Frames, Rolls, SequenceFormat, TableColumns, open_sequences
from homeostat.results import BadInputError

RANDOM = np.random.default_rng(0)


def test_parquet_tables(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    monkeypatch.setattr("homeostat.data.adapters._parquet._BLOCK_ROWS", 3)
    moments = np.array(["2020-01-01", "2020-01-02", "2020-01-03T12"] * 2, "datetime64[us]")
    columns = {
        "animal": ["rat 2", "rat 2", "rat 2", "rat 1", "rat 1", "rat 1"],
        "when": moments,
        "x": pa.array([1, None, 3, 4, 5, 6], pa.int32()),
        "y": [0.5, 1.5, np.nan, 3.5, 4.5, 5.5],
        "lick": [True, False, True, False, True, None],
        "note": list("abcdef"),
    }
    parquet.write_table(pa.table(columns), tmp_path / "data.parquet")
    how = SequenceFormat(TableColumns("animal", "when", ("x", "y"), ("lick",)))
    found = open_sequences(tmp_path / "data.parquet", how, cache=tmp_path / "cache")
    assert found.labels == ("rat 2", "rat 1") and found.lengths.tolist() == [3, 3]
    part = found.read(0)
    assert part.values.tolist() == [[1, 0.5], [0, 1.5], [3, 0]]
    assert part.observed.tolist() == [[True, True], [False, True], [True, False]]
    assert np.diff(part.times).tolist() == [86400, 1.5 * 86400] and part.actions.tolist() == [[1], [0]]
    notes = SequenceFormat(TableColumns("animal", "when", ("note",)))
    with pytest.raises(BadInputError, match="numbers in the column note of .* got string"):
        open_sequences(tmp_path / "data.parquet", notes, cache=tmp_path / "cache")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "data.parquet").read_bytes()[:-9])
    with pytest.raises(BadInputError, match=r"cut\.parquet cannot be read"):
        open_sequences(tmp_path / "cut.parquet", how, cache=tmp_path / "cache")


def test_parquet_times_and_damaged_pages(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    when = pa.array(1_700_000_000_000_000_001 + np.arange(4) * 1_000_000_007, pa.timestamp("ns"))
    columns = {"sequence": ["a"] * 4, "time": when, "x": np.arange(4.0)}
    parquet.write_table(pa.table(columns), tmp_path / "fine.parquet")
    found = open_sequences(tmp_path / "fine.parquet", cache=tmp_path / "cache")
    np.testing.assert_allclose(np.diff(found.times(0)), 1.0, atol=1e-6)
    columns |= {"time": pa.array(np.arange(4) * 500_000, pa.time64("us"))}
    parquet.write_table(pa.table(columns), tmp_path / "day.parquet")
    found = open_sequences(tmp_path / "day.parquet", cache=tmp_path / "cache")
    np.testing.assert_allclose(found.times(0), [0.0, 0.5, 1.0, 1.5])
    columns |= {"time": np.arange(4000.0), "x": RANDOM.normal(size=4000), "sequence": ["a"] * 4000}
    parquet.write_table(pa.table(columns), tmp_path / "page.parquet", compression="snappy")
    content = bytearray((tmp_path / "page.parquet").read_bytes())
    content[100:3000] = RANDOM.bytes(2900)
    (tmp_path / "page.parquet").write_bytes(bytes(content))
    with pytest.raises(BadInputError, match=r"page\.parquet cannot be read"):
        open_sequences(tmp_path / "page.parquet", cache=tmp_path / "cache")


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
