"""What an ablation study consists of: rows to train, tables to print, orderings to judge; read from TOML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.baselines.heads import Branch, CellsConfig
from training.config_files import read_toml
from training.evaluation.tables import PaperTable, find_paper_table
from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.strict_values import StrictValueError, decode

PLAN_FILE = Path(__file__).parent / "flyover.toml"
Metric = Literal["median_km", "dfd_km", "mrd_km"]


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One row. ``change`` holds keys of the preset with other values; ``cells`` makes it a classifier.

    ``frames`` below the flights' own trains on so many frames drawn anew from each flight; evaluation always sees whole
    flights. ``both_longitudes`` searches a gallery that has the places near the antimeridian under both, as the
    runtime's galleries of ``equal_earth`` have.
    """

    name: str
    title: str
    branch: Branch = "both"
    tempgeo: bool = True
    refine: bool = False
    frames: int = 0
    both_longitudes: bool = False
    change: dict | None = None
    cells: CellsConfig | None = None


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row's place in a table, the paper's row beside it, and what it is called there if not by its own title."""

    row: str
    paper: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class AblationTable:
    """Rows under one heading, over each of the ``subsets`` of flights. ``paper`` is the number of the paper's table."""

    title: str
    rows: tuple[TableRow, ...]
    subsets: tuple[str, ...] = ("test",)
    paper: str = ""
    note: str = ""

    def paper_table(self) -> PaperTable | None:
        """Return the paper's table; raises UsageError for a number it does not have."""
        return find_paper_table(self.paper) if self.paper else None


@dataclass(frozen=True, slots=True)
class Claim:
    """An ordering, best row first, of a metric over a subset of flights: smaller is better.

    ``paper`` names the paper's table, and ``paper_rows`` its rows in the same order; without them the claim is ours.
    """

    says: str
    order: tuple[str, ...]
    metric: Metric = "median_km"
    subset: str = "test"
    paper: str = ""
    paper_rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AblationPlan:
    """A study. Raises UsageError when tables or claims name what is not there, or a row contradicts itself."""

    row: tuple[AblationRow, ...]
    table: tuple[AblationTable, ...]
    claim: tuple[Claim, ...] = ()
    near_antimeridian_km: float = 500.0

    def __post_init__(self) -> None:
        names = [row.name for row in self.row]
        if len(set(names)) < len(names):
            raise UsageError("two rows have one name")
        named_rows = [entry.row for table in self.table for entry in table.rows]
        unknown = sorted({*named_rows, *(name for claim in self.claim for name in claim.order)} - set(names))
        if unknown:
            raise UsageError(f"no row is called {', '.join(unknown)}: there are {', '.join(names)}")
        for row in self.row:
            _check_row(row)

    def select(self, names: Sequence[str]) -> tuple[AblationRow, ...]:
        """Return the rows of these names, in the order of the plan; all of them for none."""
        known = {row.name for row in self.row}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(f"no row is called {', '.join(unknown)}: there are {', '.join(sorted(known))}")
        return tuple(row for row in self.row if not names or row.name in names)

    def subsets_of(self, name: str) -> tuple[str, ...]:
        """Return the subsets of flights that a row is judged on: those of its tables and claims."""
        tables = (table.subsets for table in self.table if any(entry.row == name for entry in table.rows))
        claims = ((claim.subset,) for claim in self.claim if name in claim.order)
        return tuple(dict.fromkeys(_flatten((*tables, *claims))))


def load_plan(path: Path = PLAN_FILE) -> AblationPlan:
    """Return the study of a TOML file; raises InputError for a file that is none."""
    try:
        return decode(AblationPlan, read_toml(path))
    except StrictValueError as error:
        raise InputError(f"{path}: not a plan of ablations: {error}") from error


def _check_row(row: AblationRow) -> None:
    if row.refine and (row.branch != "both" or not row.tempgeo):
        raise UsageError(f"row {row.name}: GeoRefiner is trained on TempGeo's output of both branches")
    if row.cells is None:
        return
    if row.refine or row.frames or row.both_longitudes:
        raise UsageError(f"row {row.name}: a classifier of frames has no gallery, no clips and no GeoRefiner")
    if row.cells.head == "flat" and len(row.cells.levels) != 1:
        raise UsageError(f"row {row.name}: a flat head has one level of cells")


def _flatten(parts: Iterable[Sequence[str]]) -> list[str]:
    return [name for part in parts for name in part]
