"""Checkpoints and records: what goes in comes out, whole or not at all."""

import json
import os
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from homeostat.results import CheckpointError
from homeostat.train import (
    JsonLines,
    has_checkpoint,
    load_checkpoint,
    plain,
    read_json_lines,
    remove_checkpoint,
    save_checkpoint,
    write_json,
    write_text,
)


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
    save_checkpoint(tmp_path / "c", plain_tree, identity="run", notes={"step": 3})
    found = load_checkpoint(tmp_path / "c", identity="run")
    assert found.notes == {"step": 3}
    assert_same(plain_tree, found.tree)
    assert type(found.tree) is Outer
    assert type(found.tree.inner) is Inner
    # The keys still work.
    assert_same(jax.random.normal(plain_tree.key[0]), jax.random.normal(found.tree.key[0]))


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.uint32, np.bool_, np.complex64]
)
def test_every_data_type_comes_back(tmp_path, dtype):
    tree = (jnp.asarray([0, 1, 2]).astype(dtype), np.asarray([[1]], dtype))
    save_checkpoint(tmp_path / "c", tree)
    assert_same(tree, load_checkpoint(tmp_path / "c").tree)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 5e-324])
def test_unusual_numbers_come_back(tmp_path, value):
    save_checkpoint(tmp_path / "c", {"array": jnp.asarray(value), "number": value})
    tree = load_checkpoint(tmp_path / "c").tree
    assert np.float64(tree["number"]).tobytes() == np.float64(value).tobytes()
    assert np.asarray(tree["array"]).tobytes() == np.float64(value).tobytes()


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_every_kind(tmp_path, implementation):
    tree = (jax.random.key(3, impl=implementation), jax.random.key(3, impl=implementation)[None][:0])
    save_checkpoint(tmp_path / "c", tree)
    assert_same(tree, load_checkpoint(tmp_path / "c").tree)


def test_modules_come_back_into_their_like(tmp_path, key):
    def build(key):
        return eqx.nn.MLP(2, 3, 4, 2, activation=jax.nn.relu, key=key)

    module = build(key)
    save_checkpoint(tmp_path / "c", (module, 7))
    for like in ((build(jax.random.key(0)), 0), lambda: (build(jax.random.key(0)), 0)):
        found, number = load_checkpoint(tmp_path / "c", like=like).tree
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
    with pytest.raises(CheckpointError, match="no manifest"):
        load_checkpoint(tmp_path / "none")


def test_damage_anywhere_is_noticed(tmp_path):
    """Each file in turn is removed, emptied, cut or changed."""
    tree = {"a": jnp.arange(100.0), "b": jnp.ones(3)}
    save_checkpoint(tmp_path / "c", tree)
    files = [path for path in (tmp_path / "c").rglob("*") if path.is_file()]
    damages = {
        "removed": lambda content: None,
        "emptied": lambda content: b"",
        "cut": lambda content: content[: len(content) // 2],
        "changed": lambda content: bytes(255 - byte for byte in content),
    }
    for file in files:
        content = file.read_bytes()
        for damage in damages.values():
            damaged = damage(content)
            file.unlink() if damaged is None else file.write_bytes(damaged)
            # An empty file cannot be emptied.
            if damaged != content:
                with pytest.raises(CheckpointError):
                    load_checkpoint(tmp_path / "c")
            file.write_bytes(content)
    assert_same(tree, load_checkpoint(tmp_path / "c").tree)


def test_a_record_class_must_be_one(tmp_path):
    """A file names classes; it must not be able to call anything else."""
    save_checkpoint(tmp_path / "c", Inner(jnp.zeros(1), "x"))
    file = tmp_path / "c" / "manifest.json"
    outer = json.loads(file.read_text())
    manifest = json.loads(outer["manifest"])
    manifest["skeleton"]["class"] = "os:system"
    import zlib

    text = json.dumps(manifest)
    file.write_text(json.dumps({"checksum": zlib.crc32(text.encode()), "manifest": text}))
    with pytest.raises(CheckpointError, match="to be a NamedTuple class"):
        load_checkpoint(tmp_path / "c")


@pytest.mark.parametrize("failing_call", [1, 2, 3])
def test_replacing_leaves_the_old_or_the_new(tmp_path, monkeypatch, failing_call):
    """The disk refuses any of the renames; what is found afterwards is one of the two, whole."""
    save_checkpoint(tmp_path / "c", jnp.zeros(3))
    replace, calls = os.replace, []

    def refuse(source, target, **options):
        calls.append(target)
        if len(calls) == failing_call:
            raise OSError(28, "No space left on device")
        return replace(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="No space"):
            save_checkpoint(tmp_path / "c", jnp.ones(3))
    assert has_checkpoint(tmp_path / "c")
    assert_same(jnp.zeros(3), load_checkpoint(tmp_path / "c").tree)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_a_kill_between_the_renames_is_mended(tmp_path):
    save_checkpoint(tmp_path / "c", jnp.zeros(3))
    os.replace(tmp_path / "c", tmp_path / ".c.previous")
    assert has_checkpoint(tmp_path / "c")
    assert_same(jnp.zeros(3), load_checkpoint(tmp_path / "c").tree)
    save_checkpoint(tmp_path / "c", jnp.ones(3))
    assert_same(jnp.ones(3), load_checkpoint(tmp_path / "c").tree)
    remove_checkpoint(tmp_path / "c")
    assert not has_checkpoint(tmp_path / "c")
    assert not list(tmp_path.iterdir())
    remove_checkpoint(tmp_path / "c")


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
