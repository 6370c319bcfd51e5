from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vidtag_cli.benchmark import machine


def _fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int = 0) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{answer}'\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_the_record_is_json_and_names_what_figures_depend_on() -> None:
    record = json.loads(json.dumps(machine.machine_record(), allow_nan=False))
    assert record["cores"] >= 1
    assert record["memory_bytes"] > 2**28
    assert record["ffmpeg"]
    assert {"numpy", "av"} <= set(record["packages"])


def test_without_a_driver_nothing_is_invented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.device_memory_bytes() is None
    _fake_nvidia_smi(tmp_path, monkeypatch, "no devices were found\\n", status=6)
    assert machine.device_memory_bytes() is None
    assert machine.machine_record()["gpus"] == []


def test_a_card_is_named_with_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_nvidia_smi(tmp_path, monkeypatch, "NVIDIA H100 80GB HBM3, 580.82.07, 81559\\n")
    assert machine.machine_record()["gpus"] == [
        {"name": "NVIDIA H100 80GB HBM3", "driver": "580.82.07", "memory_mib": "81559"}
    ]


def test_memory_of_other_programs_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_nvidia_smi(tmp_path, monkeypatch, f"1, 400\\n{os.getpid()}, 900\\n")
    assert machine.device_memory_bytes() == 900 * 2**20
    _fake_nvidia_smi(tmp_path, monkeypatch, "1, 400\\n")
    assert machine.device_memory_bytes() is None
