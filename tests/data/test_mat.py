"""MATLAB files of version 5, and SVHN, which comes in them."""

import io

import numpy as np
import pytest
import scipy.io

import homeostat.data._svhn as svhn
from homeostat.data import load_svhn
from homeostat.data._packed import read_mat
from homeostat.results import BadInputError

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_what_was_saved(tmp_path, compressed):
    arrays = {
        "X": RANDOM.integers(0, 256, (3, 4, 5, 6), np.uint8),
        "y": RANDOM.normal(size=(7, 1)),
        "whole": np.arange(3.0)[:, None],
        "int64": RANDOM.integers(-9, 9, (2, 3)),
        "single": RANDOM.normal(size=(2, 2)).astype(np.float32),
        "n": np.array([[3]], np.int16),
        "text": "passed over",
        "cell": np.array([[1, "a"]], dtype=object),
        "z": np.array([[1 + 2j]]),
    }
    scipy.io.savemat(tmp_path / "a.mat", arrays, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat")
    assert set(found) == set(arrays)
    for name in ("X", "y", "whole", "int64", "single", "n"):
        np.testing.assert_array_equal(found[name], arrays[name])
        assert found[name].dtype == arrays[name].dtype


def test_files_that_are_none(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"x" * 200)
    with pytest.raises(BadInputError, match="a MATLAB file of version 5, but .*cannot be read"):
        read_mat(tmp_path / "a.mat")
    scipy.io.savemat(tmp_path / "a.mat", {"X": np.zeros((50, 50))})
    (tmp_path / "a.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:-100])
    with pytest.raises(BadInputError, match="cannot be read"):
        read_mat(tmp_path / "a.mat")


def test_svhn_from_the_network(monkeypatch, server, cache):
    images = RANDOM.integers(0, 256, (9, 32, 32, 3), np.uint8)
    labels = np.array([1, 10, 3, 4, 5, 6, 7, 8, 9], np.uint8)
    remotes = []
    for remote, part in zip(svhn.SVHN_FILES, (slice(0, 6), slice(6, 9)), strict=True):
        buffer = io.BytesIO()
        content = {"X": images[part].transpose(1, 2, 3, 0), "y": labels[part, None]}
        scipy.io.savemat(buffer, content, do_compression=True)
        remotes.append(server.offer(remote.name, buffer.getvalue()))
    monkeypatch.setattr(svhn, "SVHN_FILES", tuple(remotes))
    monkeypatch.setattr(svhn, "NUM_TRAIN", 6)
    monkeypatch.setattr(svhn, "NUM_TEST", 3)
    splits = load_svhn(num_validation=2)
    np.testing.assert_array_equal(splits.train.observations, images[splits.indices.train])
    np.testing.assert_array_equal(splits.test.observations, images[6:])
    assert load_svhn(num_validation=0).train.labels.tolist() == [1, 0, 3, 4, 5, 6]
    monkeypatch.setattr(svhn, "NUM_TEST", 4)
    with pytest.raises(BadInputError, match=r"\(32, 32, 3, 4\)"):
        load_svhn(num_validation=2)
