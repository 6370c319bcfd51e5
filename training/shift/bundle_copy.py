"""A bundle written again with another contract: what was measured of a model changes, its weights do not."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

from vidtag_cli.bundle.bundle_json import write_bundle_json
from vidtag_cli.bundle.contract import BUNDLE_SUFFIX, BundleContract
from vidtag_cli.bundle.integrity import listed_files, sha256_of
from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.errors import OutputError
from vidtag_cli.files import replace_file, replace_folder


def prepare_copy(out: Path, force: bool) -> None:
    """Raise OutputError, before minutes of work, where ``out`` is no name for a bundle or is there already."""
    if out.suffix != BUNDLE_SUFFIX or (out.exists() and not force):
        raise OutputError(f"{out}: a new bundle's folder is called NAME{BUNDLE_SUFFIX}; --force replaces one")
    out.parent.mkdir(parents=True, exist_ok=True)


def write_copy(
    bundle: ModelBundle, out: Path, contract: BundleContract, files: Mapping[str, bytes] | None = None
) -> None:
    """Write ``out``: the files of a bundle with some put in their place or beside them, under another contract."""
    changed = files or {}
    with replace_folder(out) as fresh:
        for name in listed_files(bundle.contract).keys() - changed.keys():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / name, fresh / name)
        for name, content in changed.items():
            replace_file(fresh / name, content)
        hashes = contract.files | {name: sha256_of(fresh / name) for name in changed}
        write_bundle_json(fresh, dataclasses.replace(contract, files=hashes))
