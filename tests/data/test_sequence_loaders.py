"""Loaders of sequences on tiny files of the official formats and of the packed copies, served on the loopback."""

import hashlib
import io
import lzma
import wave
import zipfile

import numpy as np
import pytest
import scipy.io

import homeostat.data._mnist as mnist
import homeostat.data._music as music
import homeostat.data._natural_video as natural_video
import homeostat.data._spoken_digits as spoken_digits
from data_sets import split_sizes
from homeostat.data import (
    Bouncing,
    MovingDigits,
    RemoteFile,
    load_kth,
    load_moving_mnist,
    load_natural_video,
    load_polyphonic_music,
    load_spoken_digits,
    load_timit,
)
from homeostat.results import BadInputError

RANDOM = np.random.default_rng(0)
PARTS = ("train", "validation", "test")


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def parts(splits):
    return [getattr(splits, name) for name in PARTS]


def same(sequences, arrays):
    assert len(sequences) == len(arrays)
    for index, array in enumerate(arrays):
        np.testing.assert_array_equal(sequences.read(index).values, array)


@pytest.fixture
def rolls():
    """Three, one and two songs."""
    lengths = ((4, 9, 2), (5,), (3, 3))
    return [[RANDOM.integers(0, 2, (length, 88), np.uint8) for length in part] for part in lengths]


def published(rolls, compressed=True):
    buffer, cells = io.BytesIO(), {}
    for name, part in zip(("traindata", "validdata", "testdata"), rolls, strict=True):
        cells[name] = np.empty((1, len(part)), object)
        for number, roll in enumerate(part):
            cells[name][0, number] = roll.astype(float)
    scipy.io.savemat(buffer, {**cells, "other": np.eye(3)}, do_compression=compressed)
    return buffer.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
def test_music_from_both_sources(monkeypatch, server, cache, tmp_path, rolls, compressed):
    remote = server.offer("JSB_Chorales.mat", published(rolls, compressed))
    entry = music.COLLECTIONS["jsb_chorales"]._replace(remote=remote, rows=(3, 1, 2))
    monkeypatch.setitem(music.COLLECTIONS, "jsb_chorales", entry)
    (tmp_path / "copy" / "polyphonic_music").mkdir(parents=True)
    packed = {}
    for name, part in zip(("train", "valid", "test"), rolls, strict=True):
        packed[f"{name}_roll"] = np.packbits(np.concatenate(part), axis=1)
        packed[f"{name}_len"] = np.array([len(roll) for roll in part], np.int32)
    copy = tmp_path / "copy" / "polyphonic_music" / "jsb_chorales.npz"
    copy.write_bytes(npz(**packed))
    for splits in (load_polyphonic_music(), load_polyphonic_music("jsb_chorales", tmp_path / "copy")):
        assert split_sizes(splits) == ((3, 1, 2), (15, 5, 6))
        for part, songs in zip(parts(splits), rolls, strict=True):
            same(part, songs)
            assert part.dtype == np.uint8 and part.shape == (88,)
        assert splits.test.labels == ("test 0", "test 1") and splits.indices.test.tolist() == [4, 5]
        assert splits.complete and "domain" in splits.source.licence
    assert splits.train.at_least(4).lengths.tolist() == [4, 9]
    copy.write_bytes(npz(**(packed | {"test_len": np.array([3, 2])})))
    with pytest.raises(BadInputError, match=r"jsb_chorales\.npz cannot be read .*lengths of test do not add up"):
        load_polyphonic_music("jsb_chorales", tmp_path / "copy")
    copy.write_bytes(npz(**(packed | {"test_roll": packed["test_roll"][:3], "test_len": np.array([3])})))
    with pytest.raises(BadInputError, match="3 training, 1 validation and 2 test sequences .* got 3, 1 and 1"):
        load_polyphonic_music("jsb_chorales", tmp_path / "copy")


def test_music_that_is_none(monkeypatch, server, cache, rolls):
    with pytest.raises(BadInputError, match="jsb_chorales, nottingham, piano_midi, musedata, got 'bach'"):
        load_polyphonic_music("bach")
    rolls[0][0] = 2 * rolls[0][0] + 1
    entry = music.COLLECTIONS["musedata"]._replace(remote=server.offer("MuseData.mat", published(rolls)))
    monkeypatch.setitem(music.COLLECTIONS, "musedata", entry)
    with pytest.raises(BadInputError, match="traindata holds something else than zeros and ones"):
        load_polyphonic_music("musedata")
    server.close()
    remote = RemoteFile(server.address + "Nottingham.mat", 3, "")
    monkeypatch.setitem(music.COLLECTIONS, "nottingham", entry._replace(remote=remote))
    with pytest.raises(
        BadInputError, match=r"get Nottingham\.mat on another machine and put it into .*polyphonic_music"
    ):
        load_polyphonic_music("nottingham")


RECORDINGS = [f"{digit}_{speaker}_{take}" for digit in (3, 7) for speaker in ("theo", "jackson") for take in (0, 5, 6, 49)]  # fmt: skip


def plain_wav(samples, rate=8_000):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


def test_spoken_digits_from_both_sources(monkeypatch, server, cache, tmp_path):
    names = sorted(f"{label}.wav" for label in RECORDINGS)
    samples = [RANDOM.integers(-30_000, 30_000, RANDOM.integers(20, 40)).astype(np.int16) for _ in names]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in zip(reversed(names), reversed(samples), strict=True):
            archive.writestr(f"digits-main/recordings/{name}", plain_wav(content))
        archive.writestr("digits-main/README.md", "about")
    remote = server.offer("digits.zip", stream.getvalue())._replace(num_bytes=None, sha256=None)
    monkeypatch.setattr(spoken_digits, "DIGITS_FILES", (remote,))
    monkeypatch.setattr(spoken_digits, "NUM_RECORDINGS", 16)
    together = np.concatenate(samples)
    monkeypatch.setattr(spoken_digits, "AUDIO_SHA256", hashlib.sha256(together).hexdigest())
    about = [name.removesuffix(".wav").split("_") for name in names]
    place = tmp_path / "copy" / "fsdd"
    place.mkdir(parents=True)
    buffer = io.BytesIO()
    np.save(buffer, together)
    (place / "audio_int16.npy.xz").write_bytes(lzma.compress(buffer.getvalue()))
    speakers = np.array(["jackson", "theo"])
    index = npz(
        length=np.array([len(one) for one in samples], np.int32),
        digit=np.array([int(one[0]) for one in about], np.uint8),
        speaker=np.array([int(one[1] == "theo") for one in about], np.uint8),
        take=np.array([int(one[2]) for one in about], np.uint8),
        speaker_names=speakers,
    )
    (place / "index.npz").write_bytes(index)
    windows = {name.removesuffix(".wav"): one[: len(one) // 5 * 5].reshape(-1, 5) for name, one in zip(names, samples, strict=True)}  # fmt: skip
    for splits in (load_spoken_digits(window=5), load_spoken_digits(tmp_path / "copy", window=5)):
        takes = [[int(label.split("_")[2]) for label in part.labels] for part in parts(splits)]
        assert [set(found) for found in takes] == [{49}, {5, 6}, {0}] and list(map(len, takes)) == [4, 8, 4]
        train = np.concatenate([windows[label] for label in splits.train.labels]) / 2**15
        for part in parts(splits):
            assert part.dtype == np.float32 and part.shape == (5,)
            for number, label in enumerate(part.labels):
                expected = (windows[label] / 2**15 - train.mean()) / train.std()
                np.testing.assert_allclose(part.read(number).values, expected, atol=1e-6)
    assert (cache / "fsdd" / "recordings.npz").is_file()
    fewer = load_spoken_digits(window=5, validation_takes=(6,))
    assert split_sizes(fewer)[0] == (8, 4, 4)
    with pytest.raises(BadInputError, match="takes from 5 to 49"):
        load_spoken_digits(window=5, validation_takes=(4,))
    monkeypatch.setattr(spoken_digits, "AUDIO_SHA256", "0" * 64)
    with pytest.raises(BadInputError, match="16 recordings in .* whose samples have the SHA-256 checksum 000"):
        load_spoken_digits(window=5)


def sphere(samples):
    lines = ["NIST_1A", "   1024", f"sample_count -i {len(samples)}", "sample_n_bytes -i 2", "channel_count -i 1",
             "sample_byte_format -s2 01", "sample_rate -i 16000", "end_head"]  # fmt: skip
    return ("\n".join(lines) + "\n").encode().ljust(1024) + samples.astype("<i2").tobytes()


def test_timit_from_a_folder(monkeypatch, tmp_path):
    samples = {}
    for part, speakers in (("TRAIN", range(10)), ("TEST", range(10, 13))):
        for speaker in speakers:
            for sentence in ("SA1", "SX2"):
                content = RANDOM.integers(-3_000, 3_000, RANDOM.integers(410, 700))
                file = tmp_path / "timit" / "TIMIT" / part / "DR1" / f"S{speaker:02}" / f"{sentence}.WAV"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(sphere(content))
                samples[f"{part.lower()}/dr1/s{speaker:02}/{sentence.lower()}"] = content
    # A conversion beside its original is the same sentence.
    again = tmp_path / "timit" / "TIMIT" / "TEST" / "DR1" / "S10" / "SA1.WAV.wav"
    again.write_bytes(plain_wav(samples["test/dr1/s10/sa1"], 16_000))
    (again.parent / "SA1.TXT").write_text("She had your dark suit")
    monkeypatch.setenv("HOMEOSTAT_DATA", str(tmp_path))
    splits = load_timit()
    assert split_sizes(splits)[0] == (19, 1, 6) and not splits.complete and "20 of 4620" in splits.source.note
    train = (
        np.concatenate([samples[label][: len(samples[label]) // 200 * 200] for label in splits.train.labels]) / 2**15
    )
    for part in parts(splits):
        for number, label in enumerate(part.labels):
            expected = samples[label][: len(samples[label]) // 200 * 200].reshape(-1, 200) / 2**15
            np.testing.assert_allclose(part.read(number).values, (expected - train.mean()) / train.std(), atol=1e-5)
    assert all(label.startswith("test/") for label in splits.test.labels)
    (tmp_path / "other" / "timit").mkdir(parents=True)
    with pytest.raises(BadInputError, match=r"below folders TRAIN and TEST in .*found 0 and 0"):
        load_timit(tmp_path / "other")
    with pytest.raises(BadInputError, match="needs a licence .* load_spoken_digits is speech that is free"):
        load_timit(tmp_path / "nowhere")
    monkeypatch.delenv("HOMEOSTAT_DATA")
    with pytest.raises(BadInputError, match="the folder that HOMEOSTAT_DATA names"):
        load_timit()


def save_video(file, frames, rate=25):
    av = pytest.importorskip("av")
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = *frames.shape[1:3], "yuv420p", 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def test_kth_is_divided_by_persons(tmp_path, cache):
    told, levels = [], {}
    for person, action in ((11, "walking"), (18, "boxing"), (4, "running"), (25, "walking"), (22, "jogging")):
        name = f"person{person:02}_{action}_d{person % 4 + 1}"
        levels[name] = np.linspace(40, 200, 6 + person % 3).astype(np.uint8)
        frames = np.broadcast_to(levels[name][:, None, None, None], (levels[name].size, 120, 160, 3))
        save_video(tmp_path / "kth" / action / f"{name}_uncomp.avi", np.ascontiguousarray(frames))
    (tmp_path / "kth" / "00sequences.txt").write_text("about")
    splits = load_kth(tmp_path, message=told.append)
    persons = [{int(label[6:8]) for label in part.labels} for part in parts(splits)]
    assert persons == [{11, 18}, {4, 25}, {22}] and len(told) == 5
    assert not splits.complete and "5 of 599" in splits.source.note
    for part in parts(splits):
        assert part.shape == (64, 64) and part.dtype == np.uint8
        for number, label in enumerate(part.labels):
            found = part.read(number)
            assert np.abs(found.values.mean(axis=(1, 2)) - levels[label]).max() < 5
            np.testing.assert_allclose(np.diff(found.times), 1 / 25)
    (tmp_path / "kth" / "jogging" / "person22_jogging_d3_uncomp.avi").unlink()
    with pytest.raises(BadInputError, match="2 to train on, 2 to validate on and 0 to test on"):
        load_kth(tmp_path)
    with pytest.raises(BadInputError, match="Download the six archives"):
        load_kth(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match="the folder that HOMEOSTAT_DATA names"):
        load_kth()


def test_natural_video_from_both_sources(monkeypatch, server, cache, tmp_path):
    pytest.importorskip("av")
    clips, frames = [], {}
    for clip in natural_video.CLIPS:
        length = RANDOM.integers(2, 5) * clip.every
        levels = np.linspace(30, 220, length).astype(np.uint8)
        frames[clip.label] = np.ascontiguousarray(np.broadcast_to(levels[:, None, None, None], (length, 64, 80, 3)))
        save_video(tmp_path / "made" / clip.remote.name, frames[clip.label], 30)
        content = (tmp_path / "made" / clip.remote.name).read_bytes()
        clips.append(clip._replace(remote=server.offer(clip.remote.name, content)))
    monkeypatch.setattr(natural_video, "CLIPS", tuple(clips))
    kept = {clip.label: frames[clip.label][:: clip.every, :, 8:72] for clip in clips}
    monkeypatch.setattr(natural_video, "NUM_FRAMES", sum(map(len, kept.values())))
    place = tmp_path / "copy" / "natural_video"
    place.mkdir(parents=True)
    scenes = [clip.label for clip in natural_video.SCENES]
    gestures = [clip.label for clip in clips if clip.label not in scenes]
    together = npz(
        frames=np.concatenate([kept[label] for label in gestures]),
        length=[len(kept[label]) for label in gestures],
        label=gestures,
        fps=30.0,
    )
    (place / "asl_gestures_64rgb.npz.xz").write_bytes(lzma.compress(together))
    for clip in clips[-4:]:
        (place / f"{clip.label}_64rgb.npz.xz").write_bytes(
            lzma.compress(npz(frames=kept[clip.label], fps=30.0 / clip.every))
        )
    for splits, tolerance in ((load_natural_video(), 5), (load_natural_video(tmp_path / "copy"), 0)):
        assert split_sizes(splits)[0] == (18, 3, 3)
        assert {label for part in parts(splits) for label in part.labels} == set(kept)
        assert splits.train.labels[-4:] == ("car", "person_walking", "bottle", "bigbuckbunny")
        for part in parts(splits):
            for number, label in enumerate(part.labels):
                found = part.read(number)
                assert np.abs(found.values.astype(int) - kept[label]).max() <= tolerance
                np.testing.assert_allclose(np.diff(found.times), (3 if label == "bottle" else 1) / 30, atol=1e-3)
    (place / "bigbuckbunny_64rgb.npz.xz").write_bytes(lzma.compress(npz(frames=kept["bigbuckbunny"][1:], fps=30.0)))
    with pytest.raises(BadInputError, match="these are other files"):
        load_natural_video(tmp_path / "copy")


def test_digits_bounce():
    motion = Bouncing(num_digits=1, step=0.3)
    path = motion.paths(np.array([[0.9, 0.5]]), np.array([np.pi / 2]), 8)[:, 0]
    np.testing.assert_allclose(path[:, 0], [0.9, 1.0, 0.7, 0.4, 0.1, 0.0, 0.3, 0.6], atol=1e-12)
    np.testing.assert_allclose(path[:, 1], 0.5, atol=1e-12)
    starts, directions = RANDOM.uniform(size=(50, 2)), RANDOM.uniform(0, 2 * np.pi, 50)
    many = Bouncing().paths(starts, directions, 40)
    assert many.min() >= 0 and many.max() <= 1
    lengths = np.linalg.norm(np.diff(many, axis=0), axis=2)
    inside = ((many[1:] > 0) & (many[1:] < 1)).all(axis=2)
    np.testing.assert_allclose(lengths[inside], 0.1, rtol=1e-9)
    assert lengths.max() < 0.1 + 1e-9


def test_moving_digits_are_drawn_when_read(monkeypatch, tmp_path):
    digits = RANDOM.integers(1, 256, (5, 28, 28), np.uint8)
    found = MovingDigits(digits, 3, 20, Bouncing(), (7,), "digits")
    first = found.read(1).values
    assert first.shape == (20, 64, 64) and found.lengths.tolist() == [20, 20, 20]
    np.testing.assert_array_equal(MovingDigits(digits, 1_000_000, 30, Bouncing(), (7,), "digits").read(1, 5, 20).values, first[5:])  # fmt: skip
    assert not np.array_equal(first, MovingDigits(digits, 3, 20, Bouncing(), (8,), "digits").read(1).values)
    one = MovingDigits(digits, 4, 2, Bouncing(num_digits=1), (7,), "digits")
    for index in range(4):
        frame = one.read(index).values[0]
        rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
        square = frame[rows[0] : rows[0] + 28, columns[0] : columns[0] + 28]
        assert any(np.array_equal(square, digit) for digit in digits) and rows.size == columns.size == 28
    for arguments in ((0, 20), (3, 1)):
        with pytest.raises(BadInputError, match="at least one sequence of at least two frames"):
            MovingDigits(digits, *arguments, Bouncing(), (7,), "digits")
    for arguments in ({"num_digits": 0}, {"side": 28}, {"step": 1.0}):
        with pytest.raises(BadInputError, match="at least one digit"):
            Bouncing(**arguments)


def test_moving_mnist_keeps_the_digits_of_splits_apart(monkeypatch, tmp_path):
    """Training digits are brighter than 200, test digits darker than 100; MNIST's validation rows are training digits."""
    place = tmp_path / "mnist"
    place.mkdir()
    monkeypatch.setattr(mnist, "NUM_TRAIN", 10_010)
    monkeypatch.setattr(mnist, "NUM_TEST", 5)
    bright = np.full((10_010, 28, 28), 210, np.uint8)
    for name, array in (("x_train", bright), ("x_test", np.full((5, 28, 28), 90, np.uint8))):
        buffer = io.BytesIO()
        np.save(buffer, array)
        (place / f"{name}.npy.xz").write_bytes(lzma.compress(buffer.getvalue(), preset=0))
    np.save(place / "y_train.npy", np.zeros(10_010, np.uint8))
    np.save(place / "y_test.npy", np.zeros(5, np.uint8))
    splits = load_moving_mnist(tmp_path, num_train=4, num_validation=2, num_test=3, num_frames=6)
    assert split_sizes(splits) == ((4, 2, 3), (24, 12, 18))
    assert [int(part.read(0).values.max()) for part in parts(splits)] == [210, 210, 90]
    shown = [part.read(0).values > 0 for part in parts(splits)]
    assert not np.array_equal(shown[0], shown[1]) and not np.array_equal(shown[0], shown[2])
