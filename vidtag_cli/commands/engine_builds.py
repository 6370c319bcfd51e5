"""Showing on stderr that engines are being built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vidtag_cli.commands.console import printable, progress

if TYPE_CHECKING:
    from rich.console import Console

    from vidtag_cli.engines.build_observer import BuildObserver


@contextmanager
def showing_builds(console: Console, description: str, quiet: bool = False) -> Iterator[BuildObserver]:
    """Yield the observer to hand to ``open_engine``: its lines go to the console, its progress to a bar below them."""
    from vidtag_cli.engines.build_observer import BuildObserver

    with progress(console, description, quiet) as show:
        yield BuildObserver(lambda line: console.print(f"vidtag: {printable(line)}"), show)
