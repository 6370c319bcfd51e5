from __future__ import annotations

import json

import pytest

from training.evaluation.score import score_predictions
from training.evaluation.tables import (
    DEFAULT_COLUMNS,
    MeasuredRow,
    column_values,
    find_paper_table,
    heading,
    markdown_table,
    paper_tables,
    table_document,
)
from vidtag_cli.errors import UsageError
from vidtag_cli.evaluation.bootstrap import Estimate

FEW = 50
NAN = float("nan")
ROW = MeasuredRow(
    "ours", {"frame_1": Estimate(41.04, 38.2, 43.96), "frame_median": Estimate(NAN, NAN, NAN)}, 7, 70, 0.5
)


def test_all_tables_of_the_paper_are_there_with_known_columns():
    assert list(paper_tables()) == [*map(str, range(1, 12)), "12-msls", "12-gama", "13", "14"]
    for table in paper_tables().values():
        assert [heading(column) for column in table.columns]


def test_one_model_has_one_set_of_numbers_in_all_tables():
    """Rows that the paper prints more than once: a slip of the pen in one of them would show."""
    tables = {number: dict(table.rows) for number, table in paper_tables().items()}
    main = tables["1"]["VidTAG"]
    for number, row in (
        ("4", "CLIP + DINOv2 + TempGeo + GeoRefiner"), ("5", "0.1 km"), ("7", "10, 1"), ("11", "VidTAG; grid"),
        ("12-msls", "VidTAG"), ("14", "VidTAG"),
    ):  # fmt: skip
        shared = set(tables[number][row]) & set(main)
        assert shared
        assert {column: tables[number][row][column] for column in shared} == {column: main[column] for column in shared}
    for row in ("GeoCLIP, fine-tuned", "VidTAG", "GeoCLIP, zero-shot"):
        assert tables["12-gama"][row].items() <= tables["2"][row].items()
    assert tables["13"]["VidTAG"] == tables["3"]["VidTAG"]
    assert tables["9"]["2^0, 2^3, 2^8"] == tables["10"]["16 frames"]
    assert tables["10"]["16 frames"].items() <= tables["8"]["3 layers"].items()


def test_shares_rise_with_distance_in_every_row():
    for table in paper_tables().values():
        for kind in ("frame", "video"):
            columns = [c for c in (f"{kind}_0.5", f"{kind}_1", f"{kind}_5", f"{kind}_25") if c in table.columns]
            for name, printed in table.rows:
                shares = [printed[column] for column in columns]
                assert shares == sorted(shares), (table.id, name)


def test_an_unknown_table_lists_those_there_are():
    with pytest.raises(UsageError, match="12-gama"):
        find_paper_table("99")


def test_a_score_fills_every_default_column(make_predictions):
    values = column_values(score_predictions(make_predictions(), resamples=FEW))
    assert set(DEFAULT_COLUMNS) <= set(values)
    assert values["frame_25"].value == 100.0


def test_our_row_stands_below_the_papers_with_its_interval():
    text = markdown_table([ROW], ["frame_1", "frame_median"], find_paper_table("5"))
    lines = text.splitlines()
    assert lines[0] == "|  | clips | located | frames < 1 km % | frames, median km |"
    assert lines[4] == "| paper: 0.1 km |  |  | 41.0 | 1.35 |"
    assert lines[5] == "| **ours** | 7 | 50.0 % | 41.0 (38.2-44.0) | - |"
    assert "Paper: table 5." in text


def test_a_caution_is_in_the_table_and_in_the_json():
    row = MeasuredRow("ours", ROW.values, 7, 70, 0.5, caution="the gallery holds 3 of 7 queries")
    assert "**ours** †" in markdown_table([row], ["frame_1"])
    assert "† the gallery holds 3 of 7 queries." in markdown_table([row], ["frame_1"])
    assert table_document([row], ["frame_1"])["measured"][0]["caution"] == "the gallery holds 3 of 7 queries"


def test_the_json_has_no_nan():
    document = table_document([ROW], ["frame_1"], find_paper_table("14"))
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["measured"][0]["values"]["frame_median"]["value"] is None
    assert json.loads(text)["paper"][1]["values"]["test_gmacs"] is None
