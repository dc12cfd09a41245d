"""Checkpoints and records: what goes in comes out, whole or not at all."""

import io
import json
import os
import sys
import zipfile
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from homeostat.results import CheckpointError
from homeostat.train import JsonLines, load_checkpoint, plain, read_json_lines, save_checkpoint, write_json, write_text


class Inner(NamedTuple):
    numbers: jax.Array
    name: str


class Outer(NamedTuple):
    inner: Inner
    many: list
    nothing: None
    key: jax.Array


@pytest.fixture
def plain_tree(key):
    """Everything that a file describes completely."""
    return Outer(
        Inner(jnp.arange(3.0), "a name"),
        [np.arange(4, dtype=np.int8), {"b": 1.5, "a": True}, (jnp.zeros((0, 2)), jnp.asarray(2, jnp.int32))],
        None,
        jax.random.split(key, 2),
    )


def assert_same(one, other):
    """Same structure, same types, same bits."""
    ones, shape = jax.tree.flatten(one)
    others, other_shape = jax.tree.flatten(other)
    assert shape == other_shape
    for a, b in zip(ones, others, strict=True):
        assert isinstance(b, jax.Array) == isinstance(a, jax.Array)
        if isinstance(a, jax.Array) and jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            assert a.dtype == b.dtype
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        if hasattr(a, "dtype"):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        else:
            assert type(a) is type(b)
            assert a == b


def test_plain_trees_come_back_by_themselves(tmp_path, plain_tree):
    save_checkpoint(tmp_path / "c", plain_tree, identity="run")
    found = load_checkpoint(tmp_path / "c", identity="run")
    assert_same(plain_tree, found)
    assert type(found) is Outer
    assert type(found.inner) is Inner
    # The keys still work.
    assert_same(jax.random.normal(plain_tree.key[0]), jax.random.normal(found.key[0]))


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.uint32, np.bool_, np.complex64]
)
def test_every_data_type_comes_back(tmp_path, dtype):
    tree = (jnp.asarray([0, 1, 2]).astype(dtype), np.asarray([[1]], dtype))
    save_checkpoint(tmp_path / "c", tree)
    assert_same(tree, load_checkpoint(tmp_path / "c"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 5e-324])
def test_unusual_numbers_come_back(tmp_path, value):
    save_checkpoint(tmp_path / "c", {"array": jnp.asarray(value), "number": value})
    tree = load_checkpoint(tmp_path / "c")
    assert np.float64(tree["number"]).tobytes() == np.float64(value).tobytes()
    assert np.asarray(tree["array"]).tobytes() == np.float64(value).tobytes()


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_every_kind(tmp_path, implementation):
    tree = (jax.random.key(3, impl=implementation), jax.random.key(3, impl=implementation)[None][:0])
    save_checkpoint(tmp_path / "c", tree)
    assert_same(tree, load_checkpoint(tmp_path / "c"))


def test_numpy_reads_a_checkpoint(tmp_path):
    """For whoever wants the numbers without this library."""
    save_checkpoint(tmp_path / "c.npz", {"a": jnp.arange(3.0), "b": jnp.ones((2, 2))})
    with np.load(tmp_path / "c.npz") as archive:
        np.testing.assert_array_equal(archive["00000"], np.arange(3.0))
        np.testing.assert_array_equal(archive["00001"], np.ones((2, 2)))


def test_modules_come_back_into_their_like(tmp_path, key):
    def build(key):
        return eqx.nn.MLP(2, 3, 4, 2, activation=jax.nn.relu, key=key)

    module = build(key)
    save_checkpoint(tmp_path / "c", (module, 7))
    for like in ((build(jax.random.key(0)), 0), lambda: (build(jax.random.key(0)), 0)):
        found, number = load_checkpoint(tmp_path / "c", like=like)
        assert eqx.tree_equal(found, module)
        assert number == 7
        np.testing.assert_array_equal(found(jnp.ones(2)), module(jnp.ones(2)))
    with pytest.raises(CheckpointError, match="Pass `like=`"):
        load_checkpoint(tmp_path / "c")


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ({"a": jnp.zeros(4)}, r"float64\[4\], got"),
        ({"a": jnp.zeros(3, jnp.float32)}, r"float32\[3\], got"),
        ({"b": jnp.zeros(3)}, r"Expected the leaf \['b'\]"),
        ({"a": jnp.zeros(3), "b": 1}, "2 leaves, got 1"),
        ({"a": 1.0}, "float, got"),
    ],
)
def test_other_structures_are_refused(tmp_path, like, said):
    save_checkpoint(tmp_path / "c", {"a": jnp.zeros(3)})
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path / "c", like=like)


def test_foreign_and_missing_checkpoints_are_refused(tmp_path):
    save_checkpoint(tmp_path / "c", jnp.zeros(3), identity="one")
    with pytest.raises(CheckpointError, match="Expected a checkpoint of 'two', got one of 'one'"):
        load_checkpoint(tmp_path / "c", identity="two")
    with pytest.raises(CheckpointError, match="got no file"):
        load_checkpoint(tmp_path / "none")


def test_damage_anywhere_is_noticed(tmp_path):
    """The file is removed, emptied, cut, and changed in one byte at many places: an error, or the same tree."""
    tree = {"a": jnp.arange(100.0), "b": jnp.ones(3)}
    file = tmp_path / "c"
    save_checkpoint(file, tree)
    content = file.read_bytes()
    for damaged in (b"", *(content[:end] for end in range(0, len(content), 97)), bytes(255 - b for b in content)):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_checkpoint(file)
    refused = 0
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([255 - content[place]]) + content[place + 1 :])
        try:
            assert_same(tree, load_checkpoint(file))
        except CheckpointError:
            refused += 1
    assert refused > 0.8 * len(range(0, len(content), 7))


def rewritten(file, change):
    """The checkpoint with another manifest."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in (members | {"manifest.json": json.dumps(manifest).encode()}).items():
            archive.writestr(name, member)


def test_a_file_cannot_name_code(tmp_path):
    """Records come back as loaded NamedTuple classes; nothing else is looked up, and nothing is imported."""
    file = tmp_path / "c"
    for named in ("os:system", "antigravity:geohash", "json:JSONDecoder"):
        save_checkpoint(file, Inner(jnp.zeros(1), "x"))
        rewritten(file, lambda manifest, named=named: manifest["skeleton"].update({"class": named}))
        with pytest.raises(CheckpointError, match="to be a loaded NamedTuple class"):
            load_checkpoint(file)
    assert "antigravity" not in sys.modules


def test_other_formats_are_refused_with_the_version_that_wrote_them(tmp_path):
    save_checkpoint(tmp_path / "c", jnp.zeros(3))
    rewritten(tmp_path / "c", lambda manifest: manifest.update(format=7, homeostat="9.9"))
    with pytest.raises(CheckpointError, match=r"written by homeostat 9\.9 in format 7"):
        load_checkpoint(tmp_path / "c")


def test_objects_are_not_unpickled(tmp_path):
    save_checkpoint(tmp_path / "c", np.zeros(2))
    pickled = io.BytesIO()
    np.save(pickled, np.array([print, None]), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "c") as archive:
        manifest = archive.read("manifest.json")
    with zipfile.ZipFile(tmp_path / "c", "w") as archive:
        archive.writestr("manifest.json", manifest)
        archive.writestr("00000.npy", pickled.getvalue())
    with pytest.raises(CheckpointError, match="allow_pickle"):
        load_checkpoint(tmp_path / "c")


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_replacing_leaves_the_old_or_the_new(tmp_path, monkeypatch, failing):
    """The disk refuses; the old checkpoint is found afterwards, whole."""
    save_checkpoint(tmp_path / "c", jnp.zeros(3))

    def refuse(*args, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, refuse)
        with pytest.raises(OSError, match="No space"):
            save_checkpoint(tmp_path / "c", jnp.ones(3))
    assert_same(jnp.zeros(3), load_checkpoint(tmp_path / "c"))
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_json_lines_are_mended_and_not_repeated(tmp_path):
    file = tmp_path / "lines.jsonl"
    lines = JsonLines(file, ("stage", "step"))
    lines.append({"stage": "a", "step": 1, "loss": np.float32(0.5)})
    lines.append({"stage": "a", "step": 2, "loss": float("nan")})
    with open(file, "a") as stream:
        stream.write('{"stage": "a", "st')
    assert [line["step"] for line in read_json_lines(file)] == [1, 2]
    lines = JsonLines(file, ("stage", "step"))
    lines.append({"stage": "a", "step": 2, "loss": float("nan")})
    lines.append({"stage": "a", "step": 2, "other": 1})
    lines.append({"stage": "a", "step": 3, "loss": 0.25})
    assert read_json_lines(file) == [
        {"stage": "a", "step": 1, "loss": 0.5},
        {"stage": "a", "step": 2, "loss": None},
        {"stage": "a", "step": 2, "other": 1},
        {"stage": "a", "step": 3, "loss": 0.25},
    ]
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_files_are_replaced_in_one_step(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    write_json(tmp_path / "b", {"x": (1, np.arange(2), jnp.asarray(0.5), None, tmp_path.name)})
    assert json.loads((tmp_path / "b").read_text()) == {"x": [1, [0, 1], 0.5, None, tmp_path.name]}
    assert plain({1: float("inf")}) == {"1": None}
