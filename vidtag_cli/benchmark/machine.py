"""What a benchmark's figures depend on: processor, graphics card, versions; and how much device memory is in use."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vidtag_cli import __version__
from vidtag_cli.video.ffmpeg import find_ffmpeg

_PACKAGES = (
    "numpy", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs",
    "av",
)  # fmt: skip
_NVIDIA_SMI_TIMEOUT_S = 20.0


def machine_record() -> dict[str, Any]:
    """Return processor, cores this process may use, memory, graphics cards with their driver (none: an empty list) and
    versions; no user, host or path.
    """
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpus(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "vidtag": __version__,
        "ffmpeg": find_ffmpeg().version,
        "packages": packages,
    }


def device_memory_bytes() -> int | None:
    """Return the device memory in use by this process as the driver reports it, None where there is no driver.

    Inside a container the driver may not know the process; then too the answer is None.
    """
    rows = _nvidia_smi("--query-compute-apps=pid,used_memory")
    if rows is None:
        return None
    used = [int(mib) * 2**20 for pid, mib in rows if pid == str(os.getpid()) and mib.isdigit()]
    return sum(used) if used else None


def _gpus() -> list[dict[str, str]]:
    rows = _nvidia_smi("--query-gpu=name,driver_version,memory.total") or []
    return [{"name": name, "driver": driver, "memory_mib": memory} for name, driver, memory in rows]


def _nvidia_smi(query: str) -> list[list[str]] | None:
    """Return the rows of an answer of nvidia-smi, which comes with the driver, or None when it gives none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, query, "--format=csv,noheader,nounits"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=True, timeout=_NVIDIA_SMI_TIMEOUT_S,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return [[cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line.strip()]


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
