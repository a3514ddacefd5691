"""Files of public data sets: found, downloaded, broken off, gone on with, checked; and what is said when there is no way."""

from __future__ import annotations

import email.message
import hashlib
import io
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from owae import DataError
from owae_data.public_files import LocalFile, OfficialFile, PublicFiles, stream

DATA = bytes(range(256)) * 40
OFFICIAL = OfficialFile(
    "file.bin", hashlib.md5(DATA).hexdigest(), "https://example.org", ("https://a.example/file.bin", "https://b.example/file.bin")
)
PAGE = b"\n<!DOCTYPE html><html>Quota exceeded</html>"


class Server:
    """Stands in for `urllib.request.urlopen`: serves one file from each host, breaks off after `give` bytes, remembers requests."""

    def __init__(self, hosts: dict[str, bytes], give: int | None = None, ranges: bool = True) -> None:
        self.hosts, self.give, self.ranges = hosts, give, ranges
        self.requests: list[tuple[str, str | None]] = []

    def __call__(self, request: urllib.request.Request, timeout: float) -> Any:
        wanted = request.get_header("Range")
        self.requests.append((request.host, wanted))
        if request.host not in self.hosts:
            raise urllib.error.URLError("[Errno -3] Temporary failure in name resolution")
        data = self.hosts[request.host]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start >= len(data) > 0:
            raise urllib.error.HTTPError(request.full_url, 416, "Range Not Satisfiable", email.message.Message(), None)
        headers = {"Content-Length": str(len(data) - start)}
        return _Response(data[start:][: self.give], 206 if wanted and self.ranges else 200, headers)


class _Response(io.BytesIO):
    def __init__(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        super().__init__(data)
        self.status, self.headers = status, headers


@pytest.fixture
def files(tmp_path: Path) -> PublicFiles:
    return PublicFiles("set", tmp_path, download=True, verify=True)


def _serve(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> Server:
    server = Server(*arguments, **options)
    monkeypatch.setattr(urllib.request, "urlopen", server)
    return server


def test_a_download_is_kept_and_done_once(
    files: PublicFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = _serve(monkeypatch, {"a.example": DATA})
    for _ in range(2):
        path = files.fetch(OFFICIAL).path
        assert path == files.home / "file.bin"
        assert path.read_bytes() == DATA
    assert server.requests == [("a.example", None)]
    assert not list(files.home.glob("*.part"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_was_broken_off(files: PublicFiles, monkeypatch: pytest.MonkeyPatch, ranges: bool) -> None:
    _serve(monkeypatch, {"a.example": DATA}, give=5000)
    with pytest.raises(DataError, match=r"lost after 5000 of 10240 bytes(?s:.*)b\.example"):
        files.fetch(OFFICIAL)
    assert not (files.home / "file.bin").exists()
    server = _serve(monkeypatch, {"a.example": DATA}, ranges=ranges)
    assert files.fetch(OFFICIAL).path.read_bytes() == DATA
    assert server.requests == [("a.example", "bytes=5000-")]


def test_a_download_that_was_whole_already_gets_its_name(files: PublicFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.home.mkdir()
    (files.home / "file.bin.part").write_bytes(DATA)
    _serve(monkeypatch, {"a.example": DATA})
    assert files.fetch(OFFICIAL).path.read_bytes() == DATA


def test_the_next_server_is_asked(files: PublicFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    server = _serve(monkeypatch, {"a.example": PAGE, "b.example": DATA})
    assert files.fetch(OFFICIAL).path.read_bytes() == DATA
    assert [host for host, _ in server.requests] == ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("sent", "said"), [(PAGE, "a web page came"), (b"xyz", "a file with MD5 d16fb36f0911f878998c136191af705e")]
)
def test_what_is_not_the_file_is_not_kept(files: PublicFiles, monkeypatch: pytest.MonkeyPatch, sent: bytes, said: str) -> None:
    _serve(monkeypatch, {"a.example": sent, "b.example": sent})
    with pytest.raises(DataError, match=said):
        files.fetch(OFFICIAL)
    assert not [path for path in files.home.iterdir() if not path.name.endswith(".lock")]


def test_without_a_network_the_message_says_what_to_put_where(files: PublicFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, {})
    with pytest.raises(DataError) as caught:
        files.fetch(OFFICIAL)
    for part in ("name resolution", "https://example.org", str(files.home / "file.bin"), OFFICIAL.md5, "OWAE_DATA"):
        assert part in str(caught.value)


def test_nothing_is_downloaded_if_that_is_not_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = _serve(monkeypatch, {"a.example": DATA})
    with pytest.raises(DataError, match=r"download = false\nGet it by hand"):
        PublicFiles("set", tmp_path, download=False, verify=True).fetch(OFFICIAL)
    assert not server.requests


@pytest.mark.parametrize("place", ["set/file.bin", "elsewhere/file.bin", "file.bin", "set/other.bin"])
def test_files_put_there_by_hand_are_found(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(DATA)
    files = PublicFiles("set", tmp_path, "elsewhere", download=False, verify=True)
    found = files.fetch(OFFICIAL, "other.bin")
    assert found.path == path
    files.check(found)


def test_a_wrong_file_is_told_from_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"xyz")
    with pytest.raises(DataError, match=r"not 6c(?s:.*)verify = false"):
        PublicFiles("set", tmp_path, download=False, verify=True).check(LocalFile(path, OfficialFile("file.bin", "6c", "page")))
    PublicFiles("set", tmp_path, download=False, verify=False).check(LocalFile(path, OFFICIAL))
    path.write_bytes(PAGE)
    with pytest.raises(DataError, match=r"it is a web page(?s:.*)https://example\.org and put it there$"):
        PublicFiles("set", tmp_path, download=False, verify=True).check(LocalFile(path, OFFICIAL))


def test_google_drive_is_asked_with_the_number_of_the_file(files: PublicFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    server = _serve(monkeypatch, {"drive.usercontent.google.com": DATA})
    assert files.fetch(OfficialFile("file.bin", OFFICIAL.md5, "page", drive="0B7")).path.read_bytes() == DATA
    assert server.requests == [("drive.usercontent.google.com", None)]


def test_a_bar_stands_on_a_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _serve(monkeypatch, {"a.example": DATA})
    stream("https://a.example/file.bin", tmp_path / "a.part")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    stream("https://a.example/file.bin", tmp_path / "b.part")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert (tmp_path / "b.part").read_bytes() == DATA
