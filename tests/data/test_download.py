"""Downloads: verified, whole or not at all, and clear about what to do without a network."""

import pytest

import homeostat.data._download as download
from homeostat.data import RemoteFile, data_cache_folder, fetch
from homeostat.results import BadInputError


def test_a_file_is_fetched_once(server, cache):
    remote = server.offer("numbers.bin", bytes(range(256)) * 100)
    file = fetch(remote)
    assert file == cache / "numbers.bin"
    assert file.read_bytes() == bytes(range(256)) * 100
    assert fetch(remote) == file
    assert server.requests == ["numbers.bin"]
    assert [found.name for found in cache.iterdir()] == ["numbers.bin"]


def test_another_folder(server, cache, tmp_path):
    assert fetch(server.offer("a", b"1"), folder=tmp_path / "here") == tmp_path / "here" / "a"
    assert not cache.exists()


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"num_bytes": 3}], ids=["checksum", "size"])
def test_another_content_is_not_kept(server, cache, wrong):
    remote = server.offer("numbers.bin", b"abcd")._replace(**wrong)
    with pytest.raises(BadInputError, match=r"numbers\.bin, the official file"):
        fetch(remote)
    assert list(cache.iterdir()) == []


def test_a_file_that_lies_there_is_verified(server, cache):
    remote = server.offer("numbers.bin", b"abcd")
    cache.mkdir(parents=True)
    (cache / "numbers.bin").write_bytes(b"abce")
    with pytest.raises(BadInputError, match="Delete the file"):
        fetch(remote)
    assert (cache / "numbers.bin").read_bytes() == b"abce"
    assert server.requests == []


def test_a_cut_connection_leaves_nothing(server, cache):
    remote = server.offer("numbers.bin", b"x" * 10_000)
    server.cut.add("numbers.bin")
    with pytest.raises(BadInputError, match="5000"):
        fetch(remote)
    assert list(cache.iterdir()) == []
    server.cut.clear()
    assert fetch(remote).stat().st_size == 10_000


def test_without_a_server_the_message_says_where_to_put_the_file(server, cache):
    remote = server.offer("numbers.bin", b"abcd")
    server.close()
    with pytest.raises(BadInputError, match=r"numbers\.bin on another machine and put it into .*HOMEOSTAT_DATA"):
        fetch(remote, folder=cache / "mnist")
    assert list((cache / "mnist").iterdir()) == []


def test_a_file_that_the_server_lacks(server, cache):
    with pytest.raises(BadInputError, match="404"):
        fetch(RemoteFile(server.address + "missing.bin", None, None))


def test_a_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BadInputError, match="XDG_CACHE_HOME"):
        fetch(server.offer("a", b"1"), folder=tmp_path / "file" / "cache")


def test_a_slow_download_reports(server, cache, monkeypatch):
    monkeypatch.setattr(download, "PROGRESS_AFTER_S", -1.0)
    monkeypatch.setattr(download, "_PROGRESS_EVERY_S", -1.0)
    monkeypatch.setattr(download, "_BLOCK", 400)
    seen = []
    fetch(server.offer("numbers.bin", b"x" * 1000), progress=seen.append)
    assert [report.num_bytes_done for report in seen] == [400, 800, 1000, 1000]
    assert {(report.name, report.num_bytes) for report in seen} == {("numbers.bin", 1000)}


def test_a_quick_download_is_silent(server, cache):
    seen = []
    fetch(server.offer("numbers.bin", b"x" * 1000), progress=seen.append)
    assert seen == []


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_cache_folder() == tmp_path / "homeostat" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_cache_folder() == tmp_path / ".cache" / "homeostat" / "data"
