"""A user's own sequences: archives, tables, sounds, piano rolls, videos."""

import io
import struct
import sys
import wave

import numpy as np
import pytest
from PIL import Image

from homeostat.data import Frames, Rolls, SequenceFormat, TableColumns, open_sequences, read_sound
from homeostat.results import BadInputError

RANDOM = np.random.default_rng(0)
LENGTHS = np.array([3, 5, 2])
STEPS = RANDOM.normal(size=(10, 4))
PADDED = np.stack([np.pad(part, ((0, 5 - len(part)), (0, 0))) for part in np.split(STEPS, [3, 8])])
TIMES = np.cumsum(RANDOM.uniform(0.5, 1.0, 10))


@pytest.fixture
def told():
    return []


@pytest.fixture
def opened(tmp_path, told):
    """Open a path with a cache folder of the test's own; sentences for the user end up in `told`."""
    return lambda name, how=None: open_sequences(tmp_path / name, how, message=told.append, cache=tmp_path / "cache")


def check(found, times=False, actions=False):
    assert found.lengths.tolist() == LENGTHS.tolist() and found.shape == (4,)
    for index, (start, end) in enumerate(((0, 3), (3, 8), (8, 10))):
        part = found.read(index)
        np.testing.assert_array_equal(part.values, STEPS[start:end])
        if times:
            np.testing.assert_array_equal(part.times, TIMES[start:end])
        if actions:
            np.testing.assert_array_equal(part.actions, STEPS[start : end - 1, :1])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_padded_or_end_to_end(tmp_path, opened, told, save):
    moments = np.stack([np.pad(part, (0, 5 - len(part))) for part in np.split(TIMES, [3, 8])])
    mask = np.arange(5)[None, :] < LENGTHS[:, None]
    save(tmp_path / "padded.npz", values=PADDED, lengths=LENGTHS, times=moments, actions=PADDED[..., :1])
    save(tmp_path / "between.npz", other=PADDED, mask=mask, actions=PADDED[:, :-1, :1], labels=["a", "b", "c"])
    save(tmp_path / "end.npz", values=STEPS, lengths=LENGTHS, times=TIMES, actions=STEPS[:, :1], mask=np.ones(10))
    check(opened("padded.npz"), times=True, actions=True)
    check(opened("end.npz"), times=True, actions=True)
    found = opened("between.npz:other")
    check(found, actions=True)
    assert found.labels == ("a", "b", "c") and not found.timed
    assert len(told) == (0 if save is np.savez else 6)


def test_values_of_an_archive_are_mapped_and_not_read(tmp_path, opened):
    np.savez(tmp_path / "data.npz", values=PADDED, lengths=LENGTHS)
    np.save(tmp_path / "data.npy", PADDED)
    for found, length in ((opened("data.npz"), 3), (opened("data.npy"), 5)):
        assert isinstance(found._parts.values[0], np.memmap) and found.lengths[0] == length


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": PADDED}, r"an array values in .*data\.npz, which has other: write data\.npz:NAME"),
        ({"values": PADDED, "lengths": LENGTHS + 1}, "whole numbers up to the 5 steps"),
        ({"values": PADDED, "mask": np.ones((2, 5))}, r"mask of shape \(3, 5\)"),
        ({"values": STEPS, "lengths": LENGTHS, "times": TIMES[1:]}, "10 rows of times .* got 9"),
        ({"values": STEPS, "lengths": np.array([9, 1])}, r"at least two steps .* sequence '1'"),
        ({"values": np.array(["a", "b"])}, "Expected numbers|padded array"),
        ({"values": np.array([object()])}, "Python objects"),
        ({"values": np.float64(3.0)}, "an array values in .* a single number"),
        ({"values": PADDED, "labels": np.array("abc")}, "an array labels in .* a single number"),
    ],
)
def test_archives_that_are_no_sequences(tmp_path, opened, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(BadInputError, match=message):
        opened("data.npz")


def table(order=range(10), extra=""):
    names = np.repeat(["one", "two", "three"], LENGTHS)
    lines = [
        f"{names[row]}, {float(TIMES[row])!r}," + ",".join(repr(float(cell)) for cell in STEPS[row]) for row in order
    ]
    return "sequence,time,a,b,c,d\n" + "\n".join(lines) + extra + "\n"


def test_long_tables(tmp_path, opened, told, monkeypatch):
    monkeypatch.setattr("homeostat.data._sequence_table._BLOCK_ROWS", 4)
    monkeypatch.setattr("homeostat.data._text_table._BLOCK_BYTES", 500)
    monkeypatch.setattr("homeostat.data._text_table._BLOCK_CELL_BYTES", 1)
    (tmp_path / "data.csv").write_text(table())
    # Rows of different sequences stand between one another.
    (tmp_path / "mixed.csv").write_text("\ufeff" + table((0, 3, 4, 1, 8, 5, 2, 6, 9, 7)), encoding="utf-8")
    for name in ("data.csv", "data.csv", "mixed.csv"):
        found = opened(name)
        check(found, times=True)
        assert found.labels == ("one", "two", "three")
    assert sum("once" in line for line in told) == 2
    columns = TableColumns("sequence", "", ("b", "d"), ("a",))
    found = opened("data.csv", SequenceFormat(columns))
    part = found.read(1)
    np.testing.assert_array_equal(part.values, STEPS[3:8, [1, 3]])
    np.testing.assert_array_equal(part.actions, STEPS[3:7, :1])
    assert not found.timed and sum("once" in line for line in told) == 3


def test_empty_cells_are_missing_and_dates_are_times(tmp_path, opened):
    rows = "who,when,x,y\n1,2020-01-01,1,\n1,2020-01-02T12:00:00,,2\n\n1,2020-01-03T00:00:00+01:00,3,nan\n"
    (tmp_path / "data.csv").write_text(rows)
    part = opened("data.csv", SequenceFormat(TableColumns("who", "when"))).read(0)
    assert part.values.tolist() == [[1, 0], [0, 2], [3, 0]]
    assert part.observed.tolist() == [[True, False], [False, True], [True, False]]
    assert np.diff(part.times).tolist() == [1.5 * 86400, 11 * 3600]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (table(), ("sequenze", "when"), "columns sequenze, when in .* has sequence, time, a.* mean sequence"),
        (table(), ("sequence", "time", ("e",)), "columns sequence, time, e"),
        ("sequence,time\n1,2\n", (), "columns of values"),
        ("sequence,time,a\n", (), "only a line of names"),
        ("", (), "it is empty"),
        ("sequence,time,a\n1,0,2\n1,1\n", (), "3 columns in every line .* got 2 in line 3"),
        ("sequence,time,a\n1,0,2\n1,1,x\n", (), "line 3, column a of .*, got 'x'"),
        ("sequence,time,a\n1,,2\n1,1,1\n", (), "a date and time, in line 2, column time .* an empty cell"),
        ("sequence,time,time\n1,1,2\n", (), "different name for every column"),
        (table((1, 0, 2)), (), "sort the steps by time"),
        (table((0, 0, 1)), (), "two steps have the same time"),
        (table((0, 1, 2, 8)), (), "at least two steps .* 'three'"),
        ("sequence,time,a\n1,0,\n1,1,\n", (), "at least one observed number"),
        ("sequence,time,a\n1,0,inf\n1,1,0\n", (), "finite numbers .* got inf in step 0"),
    ],
)
def test_tables_that_are_no_sequences(tmp_path, opened, text, columns, message):
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        opened("data.csv", SequenceFormat(TableColumns(*columns)))


def test_columns_have_one_meaning():
    with pytest.raises(BadInputError, match="every column in one place, got 'x'"):
        TableColumns("x", "time", ("x",))


def riff(samples, rate=8_000, bits=16, kind=1, extra=b"", extensible=False):
    """A RIFF file of samples that are already in the file's type."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    size = channels * bits // 8
    if bits == 24:
        body = samples.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
    else:
        body = samples.tobytes()
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * size, size, bits)
    if extensible:
        guid = struct.pack("<H", kind) + bytes.fromhex("000000001000800000aa00389b71")
        head += struct.pack("<HHI", 22, bits, 0) + guid
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + extra + b"data" + struct.pack("<I", len(body)) + body
    chunks += b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("bits", "kind", "stored"),
    [(8, 1, np.uint8), (16, 1, "<i2"), (24, 1, "<i4"), (32, 1, "<i4"), (32, 3, "<f4"), (64, 3, "<f8")],
)
def test_sounds_become_windows_from_minus_one_to_one(tmp_path, opened, bits, kind, stored, channels):
    wished = RANDOM.uniform(-1, 1, (23, channels))
    wished[:2] = [[-1.0], [0.0]]
    if kind == 3:
        samples = wished.astype(stored)
    elif bits == 8:
        samples = (128 + np.floor(127 * wished)).astype(stored)
        samples[0] = 0
    else:
        samples = np.floor(wished * (2.0 ** (bits - 1) - 1)).astype(stored)
        samples[0] = -(2 ** (bits - 1))
    # A chunk about the recording, as many programs write it.
    note = b"bext" + struct.pack("<I", 4) + b"note"
    content = riff(samples[:, 0] if channels == 1 else samples, bits=bits, kind=kind, extra=note, extensible=bits == 24)
    (tmp_path / "sound.wav").write_bytes(content)
    found = opened("sound.wav", SequenceFormat(window=5))
    assert found.shape == ((5,) if channels == 1 else (5, 2)) and found.lengths.tolist() == [4]
    part = found.read(0, 1)
    assert part.values.dtype == np.float32 and np.array_equal(part.times, np.array([5, 10, 15]) / 8_000)
    tolerance = 2.0 ** -(min(bits, 24) - 2)
    np.testing.assert_allclose(part.values.reshape(15, channels), wished[5:20], atol=tolerance)
    start = found.read(0, 0, 1).values.reshape(5, channels)
    assert (start[0] == -1).all() and np.abs(start[1]).max() <= tolerance


def sphere(samples, order="01", coding="pcm"):
    lines = [
        "NIST_1A", "   1024", f"sample_count -i {len(samples)}", "sample_n_bytes -i 2", "channel_count -i 1",
        f"sample_byte_format -s2 {order}", "sample_rate -i 16000", f"sample_coding -s{len(coding)} {coding}", "end_head",
    ]  # fmt: skip
    body = samples.astype("<i2" if order == "01" else ">i2").tobytes()
    return ("\n".join(lines) + "\n").encode().ljust(1024) + body


@pytest.mark.parametrize("order", ["01", "10"])
def test_sphere_files_whatever_they_are_called(tmp_path, order):
    samples = RANDOM.integers(-30_000, 30_000, 50)
    (tmp_path / "SA1.WAV").write_bytes(sphere(samples, order))
    found = read_sound(tmp_path / "SA1.WAV")
    assert found.rate_hz == 16_000 and found.samples[:, 0].tolist() == samples.tolist()
    (tmp_path / "short.wav").write_bytes(sphere(samples, coding="pcm,embedded-shorten-v2.00"))
    with pytest.raises(BadInputError, match=r"not compressed in .*short\.wav, got 2 bytes coded as pcm,embedded"):
        read_sound(tmp_path / "short.wav")
    (tmp_path / "cut.wav").write_bytes(sphere(samples)[:-1])
    with pytest.raises(BadInputError, match=r"cut\.wav cannot be read"):
        read_sound(tmp_path / "cut.wav")


def plain_wav(samples, rate=8_000):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


def test_folders_of_sounds(tmp_path, opened):
    for name, size in (("b/2.wav", 30), ("a/1.WAV", 21)):
        (tmp_path / "sounds" / name).parent.mkdir(parents=True)
        (tmp_path / "sounds" / name).write_bytes(plain_wav(np.arange(size)))
    (tmp_path / "sounds" / "notes.txt").write_text("about the recordings")
    found = opened("sounds", SequenceFormat(window=10))
    assert found.labels == ("a/1", "b/2") and found.lengths.tolist() == [2, 3]
    np.testing.assert_array_equal(found.read(1, 2).values[0] * 2**15, np.arange(20, 30))
    (tmp_path / "sounds" / "c.wav").write_bytes(plain_wav(np.arange(99), 16_000))
    with pytest.raises(BadInputError, match="8000 Hz and 1 as in the first, got 16000 Hz and 1 in c"):
        opened("sounds", SequenceFormat(window=10))
    (tmp_path / "sounds" / "c.wav").write_bytes(plain_wav(np.arange(19)))
    with pytest.raises(BadInputError, match="two windows of 10 samples in every recording, got 19 samples in c"):
        opened("sounds", SequenceFormat(window=10))
    with pytest.raises(BadInputError, match="at least one sample, got window=0"):
        opened("sounds", SequenceFormat(window=0))
    (tmp_path / "sounds" / "c.gif").write_bytes(b"")
    with pytest.raises(BadInputError, match=r"files of one kind .* found \.WAV, \.gif, \.wav"):
        opened("sounds")


@pytest.mark.parametrize("content", [b"", b"RIFF", plain_wav(np.arange(9))[:30], plain_wav(np.arange(99))[:-20]])
def test_damaged_sounds(tmp_path, opened, content):
    (tmp_path / "cut.wav").write_bytes(content)
    with pytest.raises(BadInputError, match=r"cut\.wav cannot be read"):
        opened("cut.wav", SequenceFormat(window=2))


def test_animated_pictures(tmp_path, opened, told):
    grey = RANDOM.integers(0, 256, (4, 6, 10), np.uint8)
    pictures = [Image.fromarray(frame) for frame in grey]
    pictures[0].save(tmp_path / "film.gif", save_all=True, append_images=pictures[1:], duration=[100, 200, 50, 100])
    for _ in range(2):
        found = opened("film.gif", SequenceFormat(frames=Frames(grey=True)))
        np.testing.assert_array_equal(found.read(0).values, grey)
        np.testing.assert_allclose(found.read(0).times, [0, 0.1, 0.3, 0.35])
    assert len(told) == 1 and found.labels == ("film",)
    colour = opened("film.gif", SequenceFormat(frames=Frames(3, 3)))
    assert colour.shape == (3, 3, 3) and len(told) == 2
    with Image.open(tmp_path / "film.gif") as animation:
        middle = animation.convert("RGB").resize((3, 3), Image.Resampling.BICUBIC, box=(2, 0, 8, 6))
    np.testing.assert_array_equal(colour.read(0).values[0], np.asarray(middle))
    whole = (tmp_path / "film.gif").read_bytes()
    for size in (40, len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.gif").write_bytes(whole[:size])
        with pytest.raises(BadInputError, match=r"cut\.gif cannot be read"):
            opened("cut.gif")
    with pytest.raises(BadInputError, match="height and a width in pixels, or neither"):
        Frames(height=3)


@pytest.mark.parametrize(("name", "package", "extra"), [("a.mp4", "av", "video"), ("a.mid", "mido", "midi")])
def test_a_missing_library_is_named(tmp_path, opened, monkeypatch, name, package, extra):
    (tmp_path / name).write_bytes(b"content")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadInputError, match=f"the package {package}, .* its extra {extra}"):
        opened(name)


def test_what_is_no_data(tmp_path, opened):
    (tmp_path / "data.dat").write_text("1")
    with pytest.raises(BadInputError, match=r"save them in one of these formats"):
        opened("data.dat")
    with pytest.raises(BadInputError, match="found no file"):
        opened("nothing.npz:values")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="found none"):
        opened("empty")
    with pytest.raises(BadInputError, match="notes from 0 to 127"):
        Rolls(lowest=100, highest=50)
