"""A user's files: read where they lie, converted once where they must be, and refused by name and place."""

import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from homeostat.data import open_rows
from homeostat.data._open_rows import ImageRows
from homeostat.results import BadInputError

TABLE = np.random.default_rng(0).normal(size=(30, 4))


@pytest.fixture
def told():
    return []


@pytest.fixture
def opened(tmp_path, told):
    """Open a path with a cache folder of the test's own; sentences for the user end up in `told`."""
    return lambda path: open_rows(path, message=told.append, cache=tmp_path / "cache")


def same(rows, array):
    assert (rows.shape, rows.num_rows, rows.dtype) == (array.shape[1:], len(array), array.dtype)
    np.testing.assert_array_equal(rows.read(np.arange(len(array))), array)
    np.testing.assert_array_equal(rows.read([7, 3, 3]), array[[7, 3, 3]])


@pytest.mark.parametrize(
    "array", [TABLE, np.asfortranarray(TABLE), np.arange(600, dtype=np.uint8).reshape(10, 3, 4, 5)]
)
def test_arrays_are_mapped(tmp_path, opened, told, array):
    np.save(tmp_path / "data.npy", array)
    np.savez(tmp_path / "data.npz", first=array, second=np.zeros(3))
    np.savez(tmp_path / "one.npz", only=array)
    for path in ("data.npy", "data.npz:first", "one.npz", "one.npz:only"):
        rows = opened(tmp_path / path)
        same(rows, array)
        assert isinstance(rows.array, np.memmap)
    assert told == [] and not (tmp_path / "cache").exists()


def test_compressed_archives_are_unpacked_once(tmp_path, opened, told):
    np.savez_compressed(tmp_path / "data.npz", first=TABLE, second=TABLE[:9])
    same(opened(tmp_path / "data.npz:first"), TABLE)
    same(opened(tmp_path / "data.npz:second"), TABLE[:9])
    same(opened(tmp_path / "data.npz:first"), TABLE)
    assert len(told) == 2 and "once" in told[0]
    np.savez_compressed(tmp_path / "data.npz", first=2 * TABLE)
    os.utime(tmp_path / "data.npz", (1, 1))
    same(opened(tmp_path / "data.npz:first"), 2 * TABLE)


@pytest.mark.parametrize("header", ["", "a,b,c,d\n", "\n", "\ufeffa,b,c,d\n"])
def test_tables_are_converted_once(tmp_path, opened, told, header, monkeypatch):
    monkeypatch.setattr("homeostat.data._text_table._BLOCK_BYTES", 600)
    monkeypatch.setattr("homeostat.data._text_table._BLOCK_CELL_BYTES", 1)
    text = header + "\n".join(",".join(repr(float(cell)) for cell in row) for row in TABLE)
    (tmp_path / "data.csv").write_text(text, encoding="utf-8")
    for _ in range(2):
        same(opened(tmp_path / "data.csv"), TABLE)
    assert sum("once" in line for line in told) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,x\n", r"line 2, column 2 of .*data\.csv, got 'x'"),
        ("width,height\n1,2\n3,4\n\n5,\n6,x1\n", r"line 6, column height of .*got 'x1'"),
        ("1,name\n3,4\n", r"line 1, column 2 of .*'name'"),
        ("1,2\n3\n", "2 columns in every line .* got 1 in line 2"),
        ("", "found none"),
        ("a,b\n", "only a line of names"),
        ("1,\x00\n", "line 1, column 2"),
    ],
)
def test_tables_that_are_not_numbers(tmp_path, opened, text, message):
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        opened(tmp_path / "data.csv")
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))


def test_a_table_that_is_no_text(tmp_path, opened):
    (tmp_path / "data.csv").write_bytes(b"\xff\xfe\x00" * 9)
    with pytest.raises(BadInputError, match="cannot be read"):
        opened(tmp_path / "data.csv")


def test_names_in_archives(tmp_path, opened):
    np.savez(tmp_path / "data.npz", first=TABLE, second=TABLE)
    with pytest.raises(BadInputError, match="which one was not said.*one of first, second"):
        opened(tmp_path / "data.npz")
    with pytest.raises(BadInputError, match="no 'third'.*one of first, second"):
        opened(tmp_path / "data.npz:third")


def test_files_that_cannot_be_used(tmp_path, opened):
    for name, message in (("missing.npy", "found no file"), ("missing.npz:x", "found no file")):
        with pytest.raises(BadInputError, match=message):
            opened(tmp_path / name)
    for name in ("bad.npy", "bad.npz"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(BadInputError, match="cannot be read"):
            opened(tmp_path / name)
    (tmp_path / "data.dat").write_text("1 2")
    with pytest.raises(BadInputError, match=r"\.npy, \.npz, \.csv"):
        opened(tmp_path / "data.dat")
    np.save(tmp_path / "short.npy", TABLE)
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-8])
    with pytest.raises(BadInputError, match="cannot be read"):
        opened(tmp_path / "short.npy")


def test_nothing_is_unpickled(tmp_path, opened):
    objects = np.array([[{}], [{}]], dtype=object)
    np.save(tmp_path / "data.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "data.npz", only=objects)
    np.savez_compressed(tmp_path / "packed.npz", only=objects)
    for name in ("data.npy", "data.npz", "packed.npz"):
        with pytest.raises(BadInputError, match="cannot be read"):
            opened(tmp_path / name)


def test_a_damaged_member_leaves_nothing(tmp_path, opened):
    np.savez_compressed(tmp_path / "data.npz", only=TABLE)
    content = bytearray((tmp_path / "data.npz").read_bytes())
    content[300] ^= 255
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(BadInputError, match="cannot be read"):
        opened(tmp_path / "data.npz")
    assert list((tmp_path / "cache" / "converted").iterdir()) == []
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(BadInputError, match="it is empty"):
        opened(tmp_path / "empty.npz")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_images_are_read_in_the_order_of_their_names(tmp_path, opened, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (8, *shape), dtype=np.uint8)
    (tmp_path / "images" / "more").mkdir(parents=True)
    for number, image in enumerate(pixels):
        folder = tmp_path / "images" / "more" if number >= 6 else tmp_path / "images"
        Image.fromarray(image).save(folder / f"{number}.PNG")
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    same(opened(tmp_path / "images"), pixels)


def test_images_that_differ_are_named(tmp_path, opened):
    Image.new("L", (7, 5)).save(tmp_path / "a.png")
    Image.new("L", (7, 5)).save(tmp_path / "b.jpg")
    assert opened(tmp_path).read([1]).shape == (1, 5, 7)
    Image.new("RGB", (7, 5)).save(tmp_path / "c.png")
    Image.new("L", (7, 6)).save(tmp_path / "d.png")
    with pytest.raises(BadInputError, match=r"c\.png has 7 x 5 \(RGB\)"):
        opened(tmp_path)
    (tmp_path / "c.png").unlink()
    with pytest.raises(BadInputError, match=r"d\.png has 7 x 6 \(grey\)"):
        opened(tmp_path)
    Image.new("RGBA", (7, 5)).save(tmp_path / "d.png")
    with pytest.raises(BadInputError, match=r"d\.png has the mode RGBA"):
        opened(tmp_path)
    (tmp_path / "d.png").write_bytes(b"no image")
    with pytest.raises(BadInputError, match=r"d\.png cannot be read"):
        opened(tmp_path)


def test_an_image_that_is_damaged_behind_its_header(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    with pytest.raises(BadInputError, match=r"a\.png cannot be read"):
        ImageRows((tmp_path / "a.png",)).read([0])


def test_a_folder_without_images(tmp_path, opened):
    with pytest.raises(BadInputError, match="found none"):
        opened(tmp_path)
