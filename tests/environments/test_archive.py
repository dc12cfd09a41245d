"""The data set's file: read, used as a renderer, and refused when it is something else."""

import io
import lzma
import zipfile

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import homeostat.data._dsprites as reading
from data_sets import find_dsprites
from homeostat.data import read_dsprites
from homeostat.environments import ArchiveImages, ContinuousMotion, DSprites, SpriteGrid, check_archive, render_block
from homeostat.results import BadInputError

SMALL = (1, 1, 1, 2, 3, 4)


def write_archive(path, images, classes, leave_out=()):
    """An archive laid out as the original, with a pickled dictionary in it as well."""
    arrays = {
        "imgs": images,
        "latents_classes": classes,
        "latents_values": np.zeros(classes.shape),
        "metadata": np.array({"title": "dSprites dataset"}, dtype=object),
    }
    np.savez_compressed(path, allow_pickle=True, **{k: v for k, v in arrays.items() if k not in leave_out})
    return path


@pytest.fixture
def small(monkeypatch):
    """Pretend that the data set has 24 images, so that an archive can be written here."""
    count = int(np.prod(SMALL))
    monkeypatch.setattr(reading, "CLASSES", SMALL)
    monkeypatch.setattr(reading, "NUM_IMAGES", count)
    monkeypatch.setattr(reading, "_CHUNK", 7)
    images = np.random.default_rng(0).integers(0, 2, (count, 64, 64)).astype(np.uint8)
    classes = np.stack(np.unravel_index(np.arange(count), SMALL), axis=1)
    return images, classes


@pytest.fixture(scope="module")
def packed():
    """Packed images of the right shape, with two drawn blocks at their places and zeros elsewhere."""
    whole = np.zeros((737_280, 512), np.uint8)
    for block in (0, 517):
        shape, scale, orientation = (int(i) for i in np.unravel_index(block, (3, 6, 40)))
        whole[1024 * block : 1024 * (block + 1)] = render_block(SpriteGrid(39), shape, scale, orientation)
    return whole


def test_an_archive_is_read_in_chunks(small, tmp_path):
    images, classes = small
    archive = read_dsprites(write_archive(tmp_path / "dsprites_ndarray_small.npz", images, classes))
    np.testing.assert_array_equal(archive.images(slice(None)), images)
    np.testing.assert_array_equal(archive.images(5), images[5])
    np.testing.assert_array_equal(archive.images(np.array([[3, 1], [0, 23]])), images[[[3, 1], [0, 23]]])


def test_a_packed_copy_is_read(small, tmp_path):
    images, _ = small
    rows = np.packbits(images.reshape(len(images), -1), axis=1)
    np.save(tmp_path / "copy.npy", rows)
    (tmp_path / "copy.npy.xz").write_bytes(lzma.compress((tmp_path / "copy.npy").read_bytes()))
    for name in ("copy.npy", "copy.npy.xz"):
        np.testing.assert_array_equal(read_dsprites(tmp_path / name).images(slice(None)), images)


def test_files_that_are_not_dsprites_are_refused(small, tmp_path):
    images, classes = small
    file = tmp_path / "archive.npz"
    with pytest.raises(BadInputError, match="no file"):
        read_dsprites(file)
    file.write_bytes(b"not a zip file")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_dsprites(file)
    with pytest.raises(BadInputError, match="imgs"):
        read_dsprites(write_archive(file, images, classes, leave_out=("imgs",)))
    with pytest.raises(BadInputError, match="latents_classes"):
        read_dsprites(write_archive(file, images, classes[::-1]))
    with pytest.raises(BadInputError, match="shape"):
        read_dsprites(write_archive(file, images[:, :32], classes))
    with pytest.raises(BadInputError, match="zeros and ones"):
        read_dsprites(write_archive(file, 255 * images, classes))
    np.save(tmp_path / "copy.npy", images)
    with pytest.raises(BadInputError, match="shape"):
        read_dsprites(tmp_path / "copy.npy")
    (tmp_path / "copy.npy.xz").write_bytes(b"no")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_dsprites(tmp_path / "copy.npy.xz")


def test_a_truncated_archive_is_refused(small, tmp_path):
    images, classes = small
    file = write_archive(tmp_path / "archive.npz", images, classes)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content[: len(content) - 5000] if name == "imgs.npy" else content)
    with pytest.raises(BadInputError, match="ends after"):
        read_dsprites(file)


def test_nothing_is_unpickled(small, tmp_path):
    """An archive whose images are pickled objects is refused, not loaded."""
    images, classes = small
    file = write_archive(tmp_path / "archive.npz", images, classes, leave_out=("imgs",))
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}] * len(images), dtype=object), allow_pickle=True)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("imgs.npy", buffer.getvalue())
    with pytest.raises(BadInputError, match="object"):
        read_dsprites(file)


def test_archive_images_are_drawn_in_place_of_the_renderer(packed):
    grid = SpriteGrid(39)
    world = DSprites(grid=grid, renderer=ArchiveImages(packed))
    own = DSprites(grid=grid)
    block = np.unravel_index(517, (3, 6, 40))
    latents = jnp.asarray([[*block, x, y] for x, y in ((0, 0), (31, 31), (7, 20))], jnp.int32)
    # As an argument: closed over, the 377 MB would become a constant of the program.
    seen = eqx.filter_jit(lambda world, latents: jax.vmap(world.render)(latents))(world, latents)
    assert seen.sum() > 0
    np.testing.assert_array_equal(seen, eqx.filter_jit(eqx.filter_vmap(own.render))(latents))
    shape, scale, orientation, x, y = np.asarray(latents).T
    index = (((shape * 6 + scale) * 40 + orientation) * 32 + x) * 32 + y
    np.testing.assert_array_equal(np.unpackbits(packed[index], axis=1).reshape(3, 64, 64), seen)


def test_archive_images_know_only_their_lattice(packed):
    images = ArchiveImages(packed)
    with pytest.raises(BadInputError, match="40 orientations"):
        DSprites(renderer=images).render(jnp.zeros(5, int))
    with pytest.raises(BadInputError, match="float64"):
        DSprites(grid=SpriteGrid(39), motion=ContinuousMotion(), renderer=images).render(jnp.zeros(5))
    with pytest.raises(BadInputError, match="any configuration"):
        images.image(jnp.asarray(0), 1.0, 0.0, 32.0, 32.0)
    for wrong in (packed[:10], packed.astype(np.int16)[:1], None):
        with pytest.raises(BadInputError, match="not dSprites"):
            ArchiveImages(wrong)
        with pytest.raises(BadInputError, match="not dSprites"):
            check_archive(wrong)


@pytest.mark.slow
def test_wrong_pixels_are_counted():
    """In a copy of the data set with three pixels changed in two images."""
    file = find_dsprites()
    if file is None:
        pytest.skip("HOMEOSTAT_DATA names no folder with the data set.")
    damaged = read_dsprites(file).packed.copy()
    damaged[1234, 3] ^= 0b101
    damaged[700_000, 500] ^= 0b1
    assert check_archive(damaged) == (737_280, 2, 3)
