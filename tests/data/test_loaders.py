"""Loaders on tiny files of the official formats and of the packed copies, served on the loopback."""

import gzip
import io
import lzma
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import homeostat.data._cifar10 as cifar10
import homeostat.data._mnist as mnist
import homeostat.data._newsgroups as newsgroups
import homeostat.data._omniglot as omniglot
import homeostat.data._rcv1 as rcv1
from homeostat.data import load_binarized_mnist, load_cifar10, load_mnist, load_newsgroups20, load_omniglot, load_rcv1
from homeostat.results import BadInputError

RANDOM = np.random.default_rng(0)


def idx(array):
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def put(folder, **contents):
    """Write files into a folder; `__` stands for a dot in the keywords."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_bytes(content)


@pytest.fixture
def digits(monkeypatch, server, cache):
    """MNIST with 12 and 5 images, on the server."""
    arrays = [
        RANDOM.integers(0, 256, (12, 28, 28), np.uint8),
        RANDOM.integers(0, 10, 12, np.uint8),
        RANDOM.integers(0, 256, (5, 28, 28), np.uint8),
        RANDOM.integers(0, 10, 5, np.uint8),
    ]
    remotes = [server.offer(remote.name, idx(array)) for remote, array in zip(mnist.MNIST_FILES, arrays, strict=True)]
    monkeypatch.setattr(mnist, "MNIST_FILES", tuple(remotes))
    monkeypatch.setattr(mnist, "NUM_TRAIN", 12)
    monkeypatch.setattr(mnist, "NUM_TEST", 5)
    return arrays


def check_digits(splits, arrays, num_validation):
    indices = splits.indices
    assert indices.validation.size == num_validation
    np.testing.assert_array_equal(splits.train.observations, arrays[0][indices.train])
    np.testing.assert_array_equal(splits.validation.labels, arrays[1][indices.validation])
    np.testing.assert_array_equal(splits.test.observations, arrays[2])
    np.testing.assert_array_equal(splits.test.labels, arrays[3])


def test_mnist_from_the_network_then_from_the_cache(digits, server, cache):
    check_digits(load_mnist(num_validation=3), digits, 3)
    assert sorted(file.name for file in (cache / "mnist").iterdir()) == sorted(server.requests)
    server.close()
    check_digits(load_mnist(num_validation=0), digits, 0)


def test_mnist_from_folders(digits, server, tmp_path, monkeypatch):
    packed = {"x_train__npy__xz": 0, "x_test__npy__xz": 2}
    contents = {name: lzma.compress(npy(digits[index])) for name, index in packed.items()}
    put(tmp_path / "copy" / "mnist", **contents, y_train__npy=npy(digits[1]), y_test__npy=npy(digits[3]))
    found = load_mnist(tmp_path / "copy", num_validation=3)
    check_digits(found, digits, 3)
    assert found.source.place == str(tmp_path / "copy" / "mnist") and found.source.licence == "CC BY-SA 3.0"
    put(tmp_path / "official" / "mnist", **server.contents)
    monkeypatch.setenv("HOMEOSTAT_DATA", str(tmp_path / "official"))
    check_digits(load_mnist(num_validation=3), digits, 3)
    assert server.requests == []
    monkeypatch.setenv("HOMEOSTAT_DATA", str(tmp_path / "elsewhere"))
    check_digits(load_mnist(num_validation=3), digits, 3)
    assert len(server.requests) == 4


def test_a_named_folder_without_the_data_set(digits, tmp_path):
    with pytest.raises(BadInputError, match="folder mnist .* found none"):
        load_mnist(tmp_path)
    put(tmp_path / "mnist", **{mnist.MNIST_FILES[1].name: b"something"})
    with pytest.raises(BadInputError, match=r"lacks train-images-idx3-ubyte\.gz, t10k-images-idx3-ubyte\.gz"):
        load_mnist(tmp_path)


def test_without_network_the_message_names_the_files(digits, server, cache):
    server.close()
    with pytest.raises(BadInputError, match=r"train-images-idx3-ubyte\.gz on another machine and put it into .*mnist"):
        load_mnist()


def test_foreign_and_damaged_digits(digits, server, tmp_path, monkeypatch):
    place = tmp_path / "copy" / "mnist"
    put(place, x_train__npy__xz=lzma.compress(npy(digits[0][:3])), x_test__npy__xz=lzma.compress(npy(digits[2])))
    put(place, y_train__npy=npy(digits[1]), y_test__npy=npy(digits[3]))
    with pytest.raises(BadInputError, match=r"\(12, 28, 28\) and type uint8 in .*x_train"):
        load_mnist(tmp_path / "copy")
    put(place, x_train__npy__xz=lzma.compress(npy(digits[0]))[:-40])
    with pytest.raises(BadInputError, match=r"x_train\.npy\.xz cannot be read"):
        load_mnist(tmp_path / "copy")
    foreign = server.offer(mnist.MNIST_FILES[0].name, gzip.compress(b"something else"))
    monkeypatch.setattr(mnist, "MNIST_FILES", (foreign, *mnist.MNIST_FILES[1:]))
    with pytest.raises(BadInputError, match="begins with b'some'"):
        load_mnist()


def test_binarized_digits_from_both_sources(monkeypatch, server, cache, tmp_path):
    sizes = (6, 3, 2)
    parts = [RANDOM.integers(0, 2, (size, 28, 28), np.uint8) for size in sizes]
    names = ("train", "valid", "test")
    remotes, packed = [], {}
    for name, part in zip(names, parts, strict=True):
        text = "".join(" ".join(map(str, row)) + "\n" for row in part.reshape(-1, 784))
        remotes.append(server.offer(f"binarized_mnist_{name}.amat", text.encode()))
        packed[f"{name}_packed__npy__xz"] = lzma.compress(npy(np.packbits(part.reshape(-1, 784), axis=1)))
    monkeypatch.setattr(mnist, "BINARIZED_FILES", tuple(remotes))
    monkeypatch.setattr(mnist, "BINARIZED_ROWS", sizes)
    put(tmp_path / "copy" / "binarized_mnist", **packed)
    for splits in (load_binarized_mnist(), load_binarized_mnist(tmp_path / "copy")):
        for split, part in zip((splits.train, splits.validation, splits.test), parts, strict=True):
            np.testing.assert_array_equal(split.observations, part)
            assert split.labels is None
        assert splits.indices.test.tolist() == [9, 10]
    wrong = server.offer("binarized_mnist_train.amat", b"2 " * 784 * 6)
    monkeypatch.setattr(mnist, "BINARIZED_FILES", (wrong, *remotes[1:]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with pytest.raises(BadInputError, match="something else than zeros and ones"):
        load_binarized_mnist()


def drawing(ink):
    buffer = io.BytesIO()
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


def test_omniglot_is_reduced_by_a_box(monkeypatch, server, cache, tmp_path):
    full, edge = np.ones((105, 105), bool), np.zeros((105, 105), bool)
    edge[:, :15] = True  # Four of the 28 columns exactly.
    blank = np.zeros((105, 105), bool)
    members = {
        "background/B/character01/0002_01.png": full,
        "background/A/character02/0001_01.png": edge,
        "background/A/character01/0005_02.png": blank,
        "evaluation/C/character01/0003_01.png": full,
        "evaluation/C/character01/0003_02.png": edge,
    }
    remotes = []
    for part in ("background", "evaluation"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, ink in members.items():
                if name.startswith(part):
                    archive.writestr(f"images_{name}", drawing(ink))
        remotes.append(server.offer(f"images_{part}.zip", buffer.getvalue()))
    monkeypatch.setattr(omniglot, "OMNIGLOT_FILES", tuple(remotes))
    for name, value in (("NUM_IMAGES", 5), ("NUM_TRAIN", 3), ("NUM_TEST", 2)):
        monkeypatch.setattr(omniglot, name, value)
    small = np.zeros((3, 28, 28), np.uint8)
    small[1] = 255
    small[2, :, :4] = 255
    expected, labels = small[[0, 2, 1, 1, 2]], np.array([4, 0, 1, 2, 2])
    order = np.random.RandomState(1234).permutation(5)
    meta = npz(class_id=labels.astype(np.uint16))
    put(tmp_path / "copy" / "omniglot", images28_gray__npy__xz=lzma.compress(npy(expected)), meta__npz=meta)
    for _ in range(2):  # From the zip files, then from what was kept of them.
        for splits in (load_omniglot(num_validation=0), load_omniglot(tmp_path / "copy", num_validation=0)):
            np.testing.assert_array_equal(splits.train.observations, expected[np.sort(order[:3])])
            np.testing.assert_array_equal(splits.test.observations, expected[np.sort(order[3:])])
            np.testing.assert_array_equal(splits.test.labels, labels[np.sort(order[3:])])
    assert (cache / "omniglot" / "drawings_28.npz").is_file()


def residuals(image):
    """Median-edge residuals of one image, pixel by pixel: the slow inverse of what the loader decodes."""
    image = image.astype(int)
    out = np.zeros_like(image)
    for i, j in np.ndindex(image.shape):
        a = image[i, j - 1] if j else (image[i - 1, j] if i else 0)
        b = image[i - 1, j] if i else a
        c = image[i - 1, j - 1] if i and j else min(a, b)
        guess = sorted((a, b, a + b - c))[1] if i and j else (b if i and not j else a)
        out[i, j] = (image[i, j] - guess) % 256
    return out.astype(np.uint8)


def test_cifar10_from_both_sources(monkeypatch, server, cache, tmp_path):
    monkeypatch.setattr(cifar10, "BATCH_ROWS", 2)
    images = RANDOM.integers(0, 256, (12, 32, 32, 3), np.uint8)
    labels = RANDOM.integers(0, 10, 12, np.uint8)
    records = np.concatenate([labels[:, None], images.transpose(0, 3, 1, 2).reshape(12, -1)], axis=1)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for number, name in enumerate([f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]):
            content = records[2 * number : 2 * number + 2].tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(cifar10, "CIFAR10_FILES", (server.offer("cifar-10-binary.tar.gz", buffer.getvalue()),))
    whole = load_cifar10(num_validation=0)
    np.testing.assert_array_equal(whole.train.observations, images[:10])
    np.testing.assert_array_equal(whole.test.labels, labels[10:])
    assert whole.complete and whole.class_names[3] == "cat"

    def packed(part):
        green = part[..., 1]
        planes = (green, part[..., 0] - green, part[..., 2] - green)
        return lzma.compress(npy(np.stack([[residuals(image) for image in plane] for plane in planes])))

    place = tmp_path / "copy" / "cifar10"
    put(place, train0_med__npy__xz=packed(images[:2]), test1k_med__npy__xz=packed(images[10:11]))
    put(place, labels__npz=npz(train0=labels[:2], train1=labels[2:4], test1k=labels[10:11]))
    part = load_cifar10(tmp_path / "copy", num_validation=0)
    np.testing.assert_array_equal(part.train.observations, images[:2])
    np.testing.assert_array_equal(part.test.observations, images[10:11])
    assert not part.complete
    assert "the first 2 of 10 training and the first 1 of 2 test images" in part.source.note
    put(place, labels__npz=npz(train0=labels[:1], test1k=labels[10:11]))
    with pytest.raises(BadInputError, match="2 labels train0"):
        load_cifar10(tmp_path / "copy")


def test_an_archive_that_lacks_a_batch(monkeypatch, server, cache):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz"):
        pass
    monkeypatch.setattr(cifar10, "CIFAR10_FILES", (server.offer("cifar-10-binary.tar.gz", buffer.getvalue()),))
    with pytest.raises(BadInputError, match=r"lacks data_batch_1\.bin"):
        load_cifar10()


COUNTS = np.array([[0, 2, 0, 1, 0], [0, 0, 0, 0, 3], [0, 1, 1, 1, 1]])


def csr(dense):
    starts = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))])
    return starts, np.nonzero(dense)[1], dense[dense > 0]


@pytest.mark.parametrize("labelled", [False, True])
def test_newsgroups_from_both_sources(monkeypatch, server, cache, tmp_path, labelled):
    train, test = COUNTS[:2], COUNTS[2:]
    arrays = {}
    for name, dense in (("train", train), ("test", test)):
        starts, columns, counts = csr(dense)
        arrays |= {f"{name}_indptr": starts.astype(np.int32), f"{name}_word": columns.astype(np.uint16)}
        arrays |= {f"{name}_count": counts.astype(np.uint16)}
        bow = npz(indptr=starts, indices=columns, data=counts, shape=dense.shape, format=b"csr")
        server.offer(f"{name}_bow.npz", bow)
        lines = (" ".join(["1", *(f"{w}:{row[w]}" for w in np.nonzero(row)[0])]) for row in dense)
        server.offer(f"{name}.feat", "\n".join(lines).encode())
    server.offer("train_labels.txt", b"4\n0\n")
    server.offer("test_labels.txt", b"7\n")
    server.offer("vocab", b"one 1\ntwo 2\nthree 3\nfour 4\n")
    server.offer("vocab.txt", b"zero\none\ntwo\nthree\nfour\n")
    for table in ("CLEAN_FILES", "LABELLED_FILES"):
        remotes = [server.offer(remote.name, server.contents[remote.name]) for remote in getattr(newsgroups, table)]
        monkeypatch.setattr(newsgroups, table, tuple(remotes))
    monkeypatch.setattr(newsgroups, "CLEAN_WORDS", 6 if labelled else 5)
    monkeypatch.setattr(newsgroups, "LABELLED_WORDS", 5 if labelled else 6)
    monkeypatch.setattr(newsgroups, "CLEAN_ROWS", (2, 1))
    monkeypatch.setattr(newsgroups, "LABELLED_ROWS", (2, 1))
    words = ["zero" if labelled else "", "one", "two", "three", "four"]
    if labelled:
        arrays |= {"train_label": np.array([4, 0], np.uint8), "test_label": np.array([7], np.uint8)}
    name = "ecrtm_5000_labelled__npz__xz" if labelled else "prodlda_clean_1995__npz__xz"
    put(tmp_path / "copy" / "newsgroups20", **{name: lzma.compress(npz(vocab=np.array(words), **arrays))})
    for folder in (None, tmp_path / "copy"):
        splits = load_newsgroups20(folder, num_words=5, num_validation=0)
        np.testing.assert_array_equal(np.asarray(splits.train.observations), train)
        np.testing.assert_array_equal(splits.test.rows.read([0]), test)
        assert splits.vocabulary == tuple(words)
        assert splits.test.observations.dtype == np.uint16
        assert (splits.test.labels is None) is not labelled
    if labelled:
        assert splits.train.labels.tolist() == [4, 0] and splits.test.labels.tolist() == [7]
    with pytest.raises(BadInputError, match="num_words=7"):
        load_newsgroups20(num_words=7)
    monkeypatch.setattr(newsgroups, "LABELLED_ROWS" if labelled else "CLEAN_ROWS", (3, 1))
    with pytest.raises(BadInputError, match="3 training and 1 test documents over 5 words"):
        load_newsgroups20(num_words=5)


@pytest.fixture
def stories(monkeypatch, server, cache):
    """Two training and five test documents in five files."""
    texts = [["a b b", "c a\nb"], ["d d d"], ["b"], ["a a c"], ["c", "e"]]
    remotes, number = [], 0
    for remote, documents in zip(rcv1.RCV1_FILES, texts, strict=True):
        lines = []
        for text in documents:
            number += 1
            lines.append(f".I {number}\n.W\n{text}\n\n")
        server.offer(remote.name, gzip.compress("".join(lines).encode()))
        remotes.append(remote._replace(url=server.address + remote.name))
    monkeypatch.setattr(rcv1, "RCV1_FILES", tuple(remotes))
    monkeypatch.setattr(rcv1, "NUM_TRAIN", 2)
    monkeypatch.setattr(rcv1, "NUM_TEST", 5)
    return server


def test_rcv1_counts_the_frequent_stems_of_the_training_documents(stories, cache):
    for _ in range(2):  # The second time from the counts that were kept.
        splits = load_rcv1(num_words=2, num_validation=0)
        assert splits.vocabulary == ("b", "a")
        np.testing.assert_array_equal(np.asarray(splits.train.observations), [[2, 1], [1, 1]])
        np.testing.assert_array_equal(np.asarray(splits.test.observations), [[1, 0], [0, 2]])
        assert "3 documents without a word of the vocabulary are left out" in splits.source.note
    assert len(list((cache / "rcv1").glob("counts_*.npz"))) == 1
    assert load_rcv1(num_words=9, num_validation=0).vocabulary == ("b", "a", "c")


def test_rcv1_divided_at_random(stories):
    splits = load_rcv1(num_words=9, num_test=2, num_validation=1)
    assert [len(split.observations) for split in (splits.train, splits.validation, splits.test)][1] == 1
    assert "random division" in splits.source.note
    with pytest.raises(BadInputError, match="num_test=7"):
        load_rcv1(num_test=7)


def test_rcv1_with_missing_documents_or_other_text(stories, monkeypatch, tmp_path):
    monkeypatch.setattr(rcv1, "NUM_TEST", 6)
    with pytest.raises(BadInputError, match="Expected 8 documents in .* got 7"):
        load_rcv1()
    stories.contents["lyrl2004_tokens_train.dat.gz"] = gzip.compress(b"no such thing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with pytest.raises(BadInputError, match=r"tokens_train\.dat\.gz cannot be read.*instead of `\.I`"):
        load_rcv1()
