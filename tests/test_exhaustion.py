from __future__ import annotations

import errno
import os
import resource

import numpy as np
import pytest

from vidtag_cli.errors import InputError, ModelError, ResourceError
from vidtag_cli.exhaustion import check_room_to_run, explain_exhaustion


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory ran out: end other programs"),
        (MemoryError("Unable to allocate 894. GiB"), "memory ran out (Unable to allocate 894. GiB)"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "memory ran out"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.npy"), "too many open files"),
        (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), "ulimit -n"),
        (ImportError("libfaiss.so: failed to map segment from shared object"), "memory ran out"),
        (RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"), "--threads"),
        (RuntimeError("can't start new thread"), "no more threads"),
    ],
)
def test_what_ran_out_is_named_with_what_lowers_the_need(error, words):
    explained = explain_exhaustion(error)
    assert isinstance(explained, ResourceError) and explained.exit_code == 6
    assert words in str(explained)
    assert "\n" not in str(explained)


def test_numpy_says_how_much_was_asked_for():
    with pytest.raises(MemoryError) as caught:
        np.empty((1 << 24, 1 << 24))
    assert "2.00 PiB" in str(explain_exhaustion(caught.value))


@pytest.mark.parametrize("first", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_the_file_at_which_it_ran_out_is_not_to_blame(first):
    error = raised(ModelError("cache: cannot be read; remove that folder"), raised(first))
    assert isinstance(explain_exhaustion(error), ResourceError)


@pytest.mark.parametrize(
    "error",
    [
        InputError("Too many open files.mp4: there is no such file"),
        FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "Cannot allocate memory"),
        ValueError("x"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    ],
)
def test_other_errors_are_left_alone_whatever_their_names_say(error):
    assert explain_exhaustion(error) is None


@pytest.fixture
def limits(monkeypatch):
    values = {resource.RLIMIT_NOFILE: resource.RLIM_INFINITY, resource.RLIMIT_AS: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (values[kind], resource.RLIM_INFINITY))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return values


def test_without_limits_there_is_room(limits):
    check_room_to_run()


def test_too_few_handles_are_refused_before_any_work(limits):
    limits[resource.RLIMIT_NOFILE] = 16
    with pytest.raises(ResourceError, match="16 files open at once and needs 32.*ulimit -n"):
        check_room_to_run()


def test_an_address_space_in_which_a_library_crashes_is_refused(limits, monkeypatch):
    limits[resource.RLIMIT_AS] = 1200 * 2**20
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with pytest.raises(ResourceError, match=r"1\.2 GiB of address space.*2\.0 GiB with 8 threads"):
        check_room_to_run()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    check_room_to_run()
