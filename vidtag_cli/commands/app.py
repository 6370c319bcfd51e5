"""The commands of vidtag, put together."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from vidtag_cli import DISTRIBUTION, __version__

COMMANDS = (
    ("locate", "vidtag_cli.commands.locate", "locate_command"),
    ("check", "vidtag_cli.commands.check", "check_command"),
    ("demo", "vidtag_cli.commands.demo", "demo_command"),
    ("eval", "vidtag_cli.commands.evaluate", "eval_command"),
    ("calibrate", "vidtag_cli.commands.calibrate", "calibrate_command"),
    ("bench", "vidtag_cli.commands.bench", "bench_command"),
    ("doctor", "vidtag_cli.commands.doctor", "doctor_command"),
)
"""Name on the command line, module, function."""

GROUPS = (
    ("gallery", "vidtag_cli.commands.gallery", "app"),
    ("models", "vidtag_cli.commands.models", "app"),
)
"""Name on the command line, module, Typer application with the commands below it."""

EXIT_CODES = (
    ("0", "all inputs done, at least one position each"),
    ("1", "unexpected error, a bug; --debug shows the traceback"),
    ("2", "wrong usage"),
    ("3", "input missing or unreadable"),
    ("4", "input is not a decodable video"),
    ("5", "output exists already (see --force) or cannot be written"),
    ("6", "model, gallery or engine missing, damaged or unable to run; too little memory"),
    ("7", "evidence changed during the run, or differs from --expect-sha256"),
    ("8", "finished, every frame abstained: a valid result without a position"),
    ("9", "batch: some inputs failed, the others are done"),
    ("10", "check --exit-verdict: the claim is inconsistent with the pictures"),
    ("11", "check --exit-verdict: cannot say"),
    ("129, 130, 143", "interrupted: the terminal closed (SIGHUP), Ctrl-C, SIGTERM"),
    ("141", "the reader of stdout went away"),
)
"""Published with --help; a number never changes its meaning."""


def build_app() -> typer.Typer:
    """Return the application with all commands. Their modules are imported; what they need to work is not."""
    app = typer.Typer(
        name="vidtag",
        help="Where on Earth was each frame of this video taken?",
        epilog=_exit_code_table(),
        no_args_is_help=True,
        # Plain help and plain errors: square brackets are text, and a case log holds no boxes.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_global_options,
    )
    for name, module, attribute in COMMANDS:
        app.command(name)(getattr(importlib.import_module(module), attribute))
    for name, module, attribute in GROUPS:
        app.add_typer(getattr(importlib.import_module(module), attribute), name=name)
    return app


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"vidtag {__version__} ({DISTRIBUTION})")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error, as with VIDTAG_DEBUG set; may stand anywhere."),
    ] = False,
) -> None:
    """Where on Earth was each frame of this video taken?"""


def _exit_code_table() -> str:
    width = max(len(code) for code, _ in EXIT_CODES)
    # The mark keeps these lines as they are; without it they are filled into one paragraph.
    return "\n".join(["\b", "Exit codes:", *(f"  {code.ljust(width)}  {meaning}" for code, meaning in EXIT_CODES)])
