"""A download is the published file, whole, or an error that names it; what was begun is gone on with."""

import hashlib
import os
import resource
import subprocess
import sys

import pytest
from small_web import small_web

from vidtag_cli.errors import InputError, OutputError
from vidtag_cli.recipes.download import TRIES, check_address, download, find_in_index

CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def web(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with small_web() as server:
        server.files["/file"] = CONTENT
        yield server


def get(web, folder, size=3_000_000, sha256=SHA256, path="/file"):
    seen = []
    found = download(f"{web.url}{path}", size, sha256, folder, lambda done, whole: seen.append((done, whole)))
    return found, seen


def test_the_file_comes_whole_and_once(web, tmp_path):
    found, seen = get(web, tmp_path)
    assert found.read_bytes() == CONTENT and seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    get(web, tmp_path)
    assert len(web.requests) == 1 and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(web, tmp_path, knows_ranges):
    web.knows_ranges, web.breaks_after, web.breaks = knows_ranges, 1_200_000, 2
    found, _ = get(web, tmp_path)
    assert found.read_bytes() == CONTENT
    assert [wanted for _, wanted in web.requests][1] == "bytes=1200000-"
    assert len(web.requests) == 3


def test_what_was_begun_by_a_run_that_was_killed_is_gone_on_with(web, tmp_path):
    (tmp_path / f"{SHA256}.part").write_bytes(CONTENT[:2_000_000])
    found, _ = get(web, tmp_path)
    assert found.read_bytes() == CONTENT and web.requests == [("/file", "bytes=2000000-")]


def test_a_server_that_gives_no_more_is_left_with_what_came(web, tmp_path):
    web.breaks_after, web.breaks = 0, 100
    with pytest.raises(InputError, match=rf"{web.url}/file: only 0 of 3000000 bytes came.*run the command again"):
        get(web, tmp_path)
    assert len(web.requests) == TRIES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (CONTENT[:-1] + b"x", "not the file that was published"),
        (CONTENT + b"x", "longer than the 3000000 bytes"),
    ],
)
def test_another_file_is_refused_and_nothing_of_it_kept(web, tmp_path, content, words):
    web.files["/file"] = content
    with pytest.raises(InputError, match=rf"/file: {words}"):
        get(web, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_begun_file_that_is_wrong_does_not_spoil_the_next_try(web, tmp_path):
    (tmp_path / f"{SHA256}.part").write_bytes(b"x" * 2_000_000)
    with pytest.raises(InputError, match="not the file that was published"):
        get(web, tmp_path)
    assert get(web, tmp_path)[0].read_bytes() == CONTENT


def test_a_short_file_is_named(web, tmp_path):
    web.files["/file"] = CONTENT[:1000]
    with pytest.raises(InputError, match="shorter than the 3000000 bytes that were published"):
        get(web, tmp_path)


def test_a_missing_file_is_named(web, tmp_path):
    with pytest.raises(InputError, match="/gone: 404"):
        get(web, tmp_path, path="/gone")


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "http://example.invalid/x", "data:,x"])
def test_a_redirect_leads_nowhere_but_to_the_web(web, tmp_path, target):
    web.redirects["/file"] = target
    words = "Name or service|resolution|came" if "example" in target else "refused: files are fetched|is not allowed"
    with pytest.raises(InputError, match=words):
        get(web, tmp_path)
    assert not list(tmp_path.glob("*.part"))


def test_a_redirect_on_the_same_machine_is_followed(web, tmp_path):
    web.files["/moved"] = CONTENT
    web.redirects["/file"] = f"{web.url}/moved"
    assert get(web, tmp_path)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "//x", ""])
def test_open_addresses_are_refused(url):
    with pytest.raises(InputError, match="https alone"):
        check_address(url)


@pytest.mark.parametrize(
    "url", ["https://example.org/x", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]/x"]
)
def test_encrypted_and_local_addresses_are_not(url):
    check_address(url)


def test_no_room_is_an_error_that_names_file_and_size(web, tmp_path):
    with pytest.raises(OutputError, match=r"no room for .*/file: \d+ MB are needed"):
        get(web, tmp_path, size=2**62)
    assert not web.requests


def test_a_disk_that_fills_up_meanwhile_is_one_too(web, tmp_path):
    script = (
        "import resource, sys, pathlib\n"
        "from vidtag_cli.recipes.download import download\n"
        "from vidtag_cli.errors import OutputError\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try:\n"
        "    download(sys.argv[1], 3_000_000, sys.argv[2], pathlib.Path(sys.argv[3]), lambda *_: None)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", script, f"{web.url}/file", SHA256, str(tmp_path)], capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert "no room for" in done.stdout and "/file (3 MB)" in done.stdout


JSON_PAGE = b'{"files": [{"filename": "a-1.whl", "url": "../files/a-1.whl#sha256=00"}]}'
HTML_PAGE = b'<html><a href="../files/b.whl">b</a> <a href="../files/a-1.whl#sha256=00">a-1.whl</a></html>'


@pytest.mark.parametrize(
    ("page", "kind"), [(JSON_PAGE, "application/vnd.pypi.simple.v1+json"), (HTML_PAGE, "text/html")]
)
def test_an_index_leads_to_its_file(web, page, kind):
    web.files["/simple/a/"], web.types["/simple/a/"] = page, kind
    assert find_in_index(f"{web.url}/simple/", "a", "a-1.whl") == (f"{web.url}/simple/files/a-1.whl", None)
    with pytest.raises(InputError, match=r"the index has no a-2\.whl"):
        find_in_index(f"{web.url}/simple", "a", "a-2.whl")
    with pytest.raises(InputError, match="the index cannot be read"):
        find_in_index(f"{web.url}/simple", "b", "b.whl")


def test_the_password_of_an_index_goes_to_its_own_host_and_nowhere_else(web, tmp_path):
    web.password = "me:s3 cret"
    with_password = web.url.replace("http://", "http://me:s3%20cret@")
    web.files |= {"/simple/a/": HTML_PAGE, "/simple/files/a-1.whl": CONTENT}
    web.types["/simple/a/"] = "text/html"
    url, authorization = find_in_index(f"{with_password}/simple", "a", "a-1.whl")
    assert url == f"{web.url}/simple/files/a-1.whl"
    assert download(url, len(CONTENT), SHA256, tmp_path, lambda *_: None, authorization=authorization).is_file()
    with pytest.raises(InputError) as refused:
        find_in_index(with_password.replace("s3%20", "wrong"), "a", "a-1.whl")
    assert "401" in str(refused.value) and "wrong" not in str(refused.value)
    other = '<a href="https://example.org/a-1.whl">a</a>'
    web.files["/simple/a/"] = other.encode()
    assert find_in_index(f"{with_password}/simple", "a", "a-1.whl") == ("https://example.org/a-1.whl", None)


def test_a_password_goes_along_no_redirect(web, tmp_path):
    with small_web() as other:
        other.files["/file"] = CONTENT
        web.redirects["/file"] = f"{other.url}/file"
        download(f"{web.url}/file", len(CONTENT), SHA256, tmp_path, lambda *_: None, authorization="Basic eA==")
        assert web.authorizations == [("/file", "Basic eA==")] and other.authorizations == [("/file", None)]


def test_a_server_whose_file_ends_early_is_not_asked_for_ever(web, tmp_path):
    web.files["/file"] = CONTENT[:-1000]
    with pytest.raises(InputError, match="/file: shorter than the 3000000 bytes that were published"):
        get(web, tmp_path)
    assert len(web.requests) == 2 and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("page", [b"{}", b"[]", b'{"files": [{}]}', b'{"files": 3}', b"{", b"\xff"])
def test_an_index_that_is_none_is_named(web, page):
    web.files["/simple/a/"], web.types["/simple/a/"] = page, "application/json"
    with pytest.raises(InputError, match="/simple/a/: the index cannot be read"):
        find_in_index(f"{web.url}/simple", "a", "a.whl")
