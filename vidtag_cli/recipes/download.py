"""One file from the web, whose size and hash are known: resumed where it stopped, refused unless it is that file.

This is the only module of the program that opens a connection, and `vidtag models get` the only command that calls it.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import ipaddress
import json
import shutil
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from vidtag_cli import __version__
from vidtag_cli.errors import InputError, OutputError
from vidtag_cli.files import exclusive_lock

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and those there will be."""

TIMEOUT_S = 60.0
TRIES = 5
"""A connection that breaks is taken up again where it broke, as often as this without a new byte."""

CHUNK_BYTES = 1 << 20
MAX_INDEX_BYTES = 64_000_000
_AGENT = f"vidtag/{__version__}"
_INDEX_TYPES = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects to other addresses of the web, and to no others; never from an encrypted one to an open one."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_address(newurl, allows_open=not req.full_url.startswith("https:"))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_address(url: str, *, allows_open: bool = False) -> None:
    """Raise InputError for anything but https, and http where it is allowed or stays on this machine."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and (allows_open or _is_here(parts.hostname))):
        return
    raise InputError(f"{url}: refused: files are fetched over https alone")


def _is_here(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def download(
    url: str, size: int, sha256: str, folder: Path, progress: Progress, *, allows_open: bool = False,
    authorization: str | None = None,
) -> Path:  # fmt: skip
    """Return the file of an address in ``folder``, under its hash; what is there already is not fetched again.

    A file that was begun before is gone on with. Proxies and certificates are those of the environment (HTTPS_PROXY,
    NO_PROXY, SSL_CERT_FILE); ``authorization`` goes to the host of the address alone and along no redirect. Raises
    InputError, naming file and cause, when it cannot be had or is another file, which is then removed; OutputError when
    there is no room. What was begun stays for the next try.
    """
    check_address(url, allows_open=allows_open)
    target, begun = folder / sha256, folder / f"{sha256}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder / f"{sha256}.lock", on_wait=lambda: None):
            if target.is_file() and target.stat().st_size == size:
                return target
            _check_room(folder, size - (begun.stat().st_size if begun.is_file() else 0), url)
            _fetch(url, size, begun, progress, authorization)
            _check_content(url, begun, size, sha256)
            begun.rename(target)
            return target
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(f"{begun}: no room for {url} ({size / 1e6:.0f} MB): {error.strerror}") from error
        raise OutputError(f"{begun}: {url} cannot be written there: {error}") from error


def _check_room(folder: Path, needed: int, url: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(f"{folder}: no room for {url}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB free")


def _check_content(url: str, begun: Path, size: int, sha256: str) -> None:
    with begun.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if begun.stat().st_size != size or found != sha256:
        begun.unlink()
        raise InputError(
            f"{url}: not the file that was published: SHA-256 {found} and not {sha256}: nothing of it is kept"
        )


def _fetch(url: str, size: int, begun: Path, progress: Progress, authorization: str | None) -> None:
    """Write what is missing of a file; raises InputError when the connection gives no more, or too much."""
    if begun.is_file() and begun.stat().st_size > size:
        begun.unlink()
    tries = 0
    while True:
        before = begun.stat().st_size if begun.is_file() else 0
        if before == size:
            return
        try:
            _receive(url, size, begun, before, progress, authorization)
            cause = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                # Fetching it anew would end here again, without end.
                begun.unlink(missing_ok=True)
                raise InputError(
                    f"{url}: shorter than the {size} bytes that were published: the server has nothing beyond "
                    f"{before}: nothing of it is kept"
                ) from error
            if error.code < 500:
                raise InputError(f"{url}: {error.code} {error.reason}") from error
            cause = f"{error.code} {error.reason}"
        except (TimeoutError, urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError) as error:
            cause = str(getattr(error, "reason", None) or error or type(error).__name__)
        after = begun.stat().st_size if begun.is_file() else 0
        if after == size:
            return
        tries = 0 if after > before else tries + 1
        if tries >= TRIES or _is_hopeless(cause):
            raise InputError(
                f"{url}: only {after} of {size} bytes came ({cause}): what came is kept; run the command again to go on"
            )


def _is_hopeless(cause: str) -> bool:
    return "CERTIFICATE" in cause or "Name or service" in cause or "refused" in cause.lower()


def _receive(url: str, size: int, begun: Path, before: int, progress: Progress, authorization: str | None) -> None:
    with _open(url, {"Range": f"bytes={before}-"} if before else {}, authorization) as answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if goes_on and not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {before}-"):
            raise InputError(f"{url}: the server answers with another part than it was asked for")
        with begun.open("ab" if goes_on else "wb") as file:
            done = before if goes_on else 0
            while chunk := answer.read(CHUNK_BYTES):
                done += len(chunk)
                if done > size:
                    file.close()
                    begun.unlink()
                    raise InputError(f"{url}: longer than the {size} bytes that were published: nothing of it is kept")
                file.write(chunk)
                progress(done, size)


def _open(url: str, headers: dict[str, str], authorization: str | None = None) -> Any:
    opener = urllib.request.build_opener(_CarefulRedirects)
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers})
    if authorization is not None:
        request.add_unredirected_header("Authorization", authorization)
    return opener.open(request, timeout=TIMEOUT_S)


def find_in_index(index_url: str, package: str, file_name: str) -> tuple[str, str | None]:
    """Return the address of a package's file in a Python package index (PEP 503 and 691), and the authorization that
    goes with it where the index has a user and a password in its address and keeps the file itself.

    Raises InputError when the index cannot be read or has no such file; user and password are in no message.
    """
    plain_url, authorization = split_credentials(index_url)
    page = f"{plain_url.rstrip('/')}/{package}/"
    check_address(page, allows_open=True)  # the user's own index, in a network of their own
    try:
        with _open(page, {"Accept": _INDEX_TYPES}, authorization) as answer:
            content = answer.read(MAX_INDEX_BYTES)
            links = _links(content, str(answer.headers.get_content_type()))
            base = answer.url
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{page}: the index cannot be read: {error}") from error
    for link in links:
        address = urllib.parse.urldefrag(urllib.parse.urljoin(base, link)).url
        if urllib.parse.unquote(urllib.parse.urlsplit(address).path.rsplit("/", 1)[-1]) == file_name:
            return address, authorization if _origin(address) == _origin(page) else None
    raise InputError(f"{page}: the index has no {file_name}")


def split_credentials(url: str) -> tuple[str, str | None]:
    """Return an address without the user and password in it, and these as an Authorization header (RFC 7617)."""
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    encoded = base64.b64encode(urllib.parse.unquote(user).encode()).decode("ascii")
    return parts._replace(netloc=host).geturl(), f"Basic {encoded}"


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _links(content: bytes, content_type: str) -> list[str]:
    if content_type.endswith("json"):
        return [str(file["url"]) for file in json.loads(content)["files"]]
    parser = _Anchors()
    parser.feed(content.decode("utf-8", errors="replace"))
    return parser.links


class _Anchors(HTMLParser):
    """The addresses that a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]
