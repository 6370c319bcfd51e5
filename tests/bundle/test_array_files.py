"""Arrays of strangers: whoever promises more than the file holds is refused, and nothing is allocated for it."""

from __future__ import annotations

import io
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.bundle.array_files import MAX_HEADER_BYTES, ArrayShape, map_array, read_array, read_arrays
from vidtag_cli.errors import ModelError

PLACES = ArrayShape("float64", (None, 2))
PAIR = {"mean": ArrayShape("float32", (3,)), "whitening": ArrayShape("float32", (3, 3))}

HEADROOM_BYTES = 64 * 1024 * 1024
"""What a refusal may take at most; the files below ask for terabytes."""


@pytest.fixture(autouse=True)
def little_memory():
    """Too little memory for any of the promises: who believes one fails with MemoryError instead of ModelError."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + HEADROOM_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def npy(header: str, content: bytes = b"", version: int = 1, claimed: int | None = None) -> bytes:
    text = header.encode("latin-1")
    length = len(text) if claimed is None else claimed
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", length) + text + content


def saved(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def test_what_numpy_saves_comes_back(tmp_path):
    path = tmp_path / "x.npy"
    for array in (np.arange(6.0).reshape(3, 2), np.asfortranarray(np.arange(6.0).reshape(3, 2))):
        np.save(path, array)
        np.testing.assert_array_equal(read_array(path, PLACES), array)
        mapped = map_array(path, PLACES)
        np.testing.assert_array_equal(mapped, array)
        assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=(2, 0))
    np.testing.assert_array_equal(read_array(path, PLACES), array)


HEADER = "{{'descr': '{0}', 'fortran_order': False, 'shape': {1}, }}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an array"),
        (b"\x93NUMPY", "not an array"),
        (b"PK\x03\x04" + bytes(100), "not an array"),
        (b"\x93NUMPY\x04\x00" + bytes(100), "not an array"),
        (npy(HEADER.format("<f8", "(10000000000000, 2)")), "takes 160000000000000 bytes"),
        (npy(HEADER.format("<f8", f"({10**40}, 2)")), "takes"),
        (npy(HEADER.format("<f8", "(-1, 2)")), "no shape"),
        (npy(HEADER.format("<f8", "(1, 2)"), bytes(15)), "cut short"),
        (npy(HEADER.format("<f8", "(1, 2)"), bytes(17)), "cut short"),
        (npy(HEADER.format(">f8", "(1, 2)"), bytes(16)), "expected float64"),
        (npy(HEADER.format("<f4", "(2, 2)"), bytes(16)), "expected float64"),
        (npy(HEADER.format("<f8", "(2,)"), bytes(16)), "expected float64"),
        (npy(HEADER.format("<f8", "(0, 2)")), "expected float64"),
        (npy(HEADER.format("<U1000000000", "(1, 2)")), "expected float64"),
        (npy(HEADER.format("|O", "(1, 2)"), bytes(16)), "expected float64"),
        (npy(HEADER.format("no dtype", "(1, 2)")), "expected float64"),
        (npy(HEADER.format("<f8", "('a', 2)")), "no shape"),
        (npy(HEADER.format("<f8", "(True, 2)"), bytes(16)), "no shape"),
        (npy("{" * 3000), "header"),
        (npy("(" * 3000), "header"),
        (npy("__import__('os').abort()"), "header"),
        (npy("x", version=2, claimed=(1 << 32) - 1), "header claims 4294967295 bytes"),
        (npy("x" * (MAX_HEADER_BYTES + 1)), "header claims"),
        (npy("{'descr'", claimed=4000), "header cannot be read"),
        (saved(np.array([{}, 2], dtype=object), allow_pickle=True), "expected float64"),
    ],
)
@pytest.mark.parametrize("read", [map_array, read_array])
def test_a_file_that_promises_what_it_does_not_hold_is_refused(tmp_path, read, content, message):
    path = tmp_path / "gallery_latlon.npy"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"gallery_latlon\.npy: .*({message})"):
        read(path, PLACES)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"none\.npy: cannot be read: No such file"):
        read_array(tmp_path / "none.npy", PLACES)


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)


def pair(**changes: bytes) -> dict[str, bytes]:
    good = {"mean": saved(np.ones(3, np.float32)), "whitening": saved(np.eye(3, dtype=np.float32))}
    return {f"{name}.npy": content for name, content in (good | changes).items()}


def test_an_archive_comes_back(tmp_path):
    path = tmp_path / "domain.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, mean=np.arange(3, dtype=np.float32), whitening=np.asfortranarray(np.arange(9.0).reshape(3, 3), "f4"))
        arrays = read_arrays(path, PAIR)
        np.testing.assert_array_equal(arrays["mean"], [0.0, 1.0, 2.0])
        np.testing.assert_array_equal(arrays["whitening"], np.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "expected the arrays mean, whitening"),
        ({"mean.npy": saved(np.ones(3, np.float32))}, "expected the arrays"),
        (pair(extra=b""), "expected the arrays"),
        ({**pair(), "../x.npy": b""}, "expected the arrays"),
        (pair(mean=saved(np.ones(4, np.float32))), r"mean: expected float32 \(3\), found <f4 \(4,\)"),
        (pair(mean=saved(np.ones(3))), "mean: expected float32"),
        (pair(mean=saved(np.array(["a", "b", "c"]))), "mean: expected float32"),
        (pair(mean=saved(np.array([1, None, 2], dtype=object), allow_pickle=True)), "mean: expected float32"),
        (pair(mean=b"no array"), "mean: not an array"),
        (pair(mean=saved(np.array([1.0, np.nan, 2.0], np.float32))), "mean: .* not a finite number"),
        (pair(whitening=saved(np.full((3, 3), np.inf, np.float32))), "whitening: .* not a finite number"),
        (pair(whitening=bytes(1 << 20)), "whitening: unpacks to more bytes"),
        (pair(mean=npy(HEADER.format("<f4", "(100000000000,)"))), "mean: expected float32"),
    ],
)
def test_an_archive_that_is_not_what_it_should_be_is_refused(tmp_path, members, message):
    archive(tmp_path / "domain.npz", members)
    with pytest.raises(ModelError, match=rf"domain\.npz: {message}"):
        read_arrays(tmp_path / "domain.npz", PAIR)


def damaged(content: bytes) -> dict[str, bytes]:
    begin, end = content.index(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    size_at = begin + 24  # the uncompressed size in the central directory
    method_at, flags_at, crc_at = begin + 10, begin + 8, begin + 16
    return {
        "cut short": content[: len(content) // 2],
        "one byte changed": content[:60] + bytes([content[60] ^ 1]) + content[61:],
        "another CRC": content[:crc_at] + b"\1\2\3\4" + content[crc_at + 4 :],
        "an unknown way of compression": content[:method_at] + b"\x63\x00" + content[method_at + 2 :],
        "a password": content[:flags_at] + b"\x01\x00" + content[flags_at + 2 :],
        "a smaller size than it unpacks to": content[:size_at] + b"\x10\x00\x00\x00" + content[size_at + 4 :],
        "no directory": content[:end] + bytes(22),
        "empty": b"",
    }


@pytest.mark.parametrize("damage", list(damaged(b"PK\x01\x02" + bytes(300) + b"PK\x05\x06")))
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_refused(tmp_path, damage, method):
    path = tmp_path / "domain.npz"
    archive(path, pair(mean=saved(np.random.default_rng(1).random(3, np.float32))), method)
    path.write_bytes(damaged(path.read_bytes())[damage])
    with pytest.raises(ModelError, match=r"domain\.npz: "):
        read_arrays(path, PAIR)


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path):
    path = tmp_path / "domain.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("mean.npy", pair()["mean.npy"])
        with file.open("whitening.npy", "w") as member:
            for _ in range(2 * HEADROOM_BYTES >> 20):
                member.write(bytes(1 << 20))
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        begin = content.rindex(signature)
        content[begin + offset : begin + offset + 4] = struct.pack("<I", 100)
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"domain\.npz: "):
        read_arrays(path, PAIR)
