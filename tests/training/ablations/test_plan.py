"""The plan that ships and the rules a plan obeys."""

import pytest

from training.ablations.flyover_run import sets_of
from training.ablations.plan import AblationPlan, AblationRow, AblationTable, Claim, TableRow, load_plan
from training.ablations.recipe import resolve
from training.ablations.verdict import paper_values
from training.baselines.heads import CellsConfig
from training.checkpoint import identify
from training.config_files import load_config
from vidtag_cli.errors import InputError, UsageError

HASHES = {"features": "f", "locations": "l", "heads": "h"}


@pytest.fixture(scope="module")
def plan():
    return load_plan()


@pytest.fixture(scope="module")
def preset():
    return load_config("flyover")


def recipe(plan, preset, name, seed=0, factor=1.0):
    (row,) = plan.select([name])
    return resolve(row, preset, seed, factor, HASHES)


def test_the_plan_has_every_row_that_the_issue_asks_for(plan, preset):
    names = {row.name for row in plan.row}
    wanted = {"clip_only", "dino_only", "both_branches", "tempgeo", "georefiner", "planet", "isns", "geodecoder"}
    assert wanted <= names
    assert {plan.select([name])[0].frames for name in ("frames_4", "frames_8", "tempgeo")} == {4, 8, 0}
    assert recipe(plan, preset, "tempgeo").config.model.location.kind == "sphere"
    assert recipe(plan, preset, "equal_earth").config.model.location.kind == "equal_earth"
    assert {"test", "antimeridian"} <= set(plan.subsets_of("equal_earth"))
    pairs = [recipe(plan, preset, f"alpha_{alpha}_beta_1").config.phase_two for alpha in (1, 10, 100)]
    assert [(phase.alpha, phase.beta) for phase in pairs] == [(1.0, 1.0), (10.0, 1.0), (100.0, 1.0)]


def test_every_row_resolves_against_the_preset(plan, preset):
    for row in plan.row:
        found = resolve(row, preset, 0, 1.0, HASHES)
        assert found.width % found.config.model.heads == 0
        assert found.answers()
        assert plan.subsets_of(row.name), f"{row.name} is in no table"
        assert all(sets_of(subset) for subset in plan.subsets_of(row.name))


def test_the_rows_of_the_paper_exist_and_order_as_claimed(plan):
    judged = [claim for claim in plan.claim if claim.paper]
    assert len(judged) >= 8
    for claim in judged:
        values = paper_values(claim)
        assert len(values) == len(claim.order)
        assert values == sorted(values), claim.says
    for table in plan.table:
        paper = table.paper_table()
        names = {name for name, _ in paper.rows} if paper else set()
        assert {entry.paper for entry in table.rows if entry.paper} <= names


def test_equal_trainings_have_equal_names(plan, preset):
    one = {name: identify(recipe(plan, preset, name).phase_one()) for name in ("tempgeo", "georefiner", "frames_4")}
    assert one["tempgeo"] == one["georefiner"] != one["frames_4"]
    seam = [identify(recipe(plan, preset, name).phase_one()) for name in ("equal_earth", "equal_earth_seam")]
    assert seam[0] == seam[1]
    alphas = {identify(recipe(plan, preset, f"alpha_{alpha}_beta_1").phase_two()) for alpha in (1, 10, 100)}
    assert len(alphas) == 3
    others = [recipe(plan, preset, "tempgeo", seed=1), recipe(plan, preset, "tempgeo", factor=0.5)]
    assert one["tempgeo"] not in {identify(other.phase_one()) for other in others}


def test_seeds_share_the_start_of_the_location_encoder(plan, preset):
    starts = {identify(recipe(plan, preset, "equal_earth", seed=seed).locations()) for seed in range(3)}
    assert len(starts) == 1


def test_shorter_trainings_keep_the_shape_of_their_schedule(plan, preset):
    phase = recipe(plan, preset, "tempgeo", factor=0.1).config.phase_one
    whole = preset.phase_one
    assert phase.steps == round(whole.steps * 0.1)
    assert phase.steps / phase.steps_per_epoch == pytest.approx(whole.steps / whole.steps_per_epoch)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (AblationRow("x", "x", branch="clip", refine=True), "both branches"),
        (AblationRow("x", "x", frames=4, cells=CellsConfig("flat", (4,))), "classifier"),
        (AblationRow("x", "x", cells=CellsConfig("flat", (4, 5))), "one level"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(row, message):
    with pytest.raises(UsageError, match=message):
        AblationPlan((row,), ())


def test_names_that_are_not_there_are_refused(plan):
    row = AblationRow("x", "x")
    with pytest.raises(UsageError, match="no row is called y"):
        AblationPlan((row,), (AblationTable("t", (TableRow("y"),)),))
    with pytest.raises(UsageError, match="no row is called z"):
        AblationPlan((row,), (), (Claim("c", ("x", "z")),))
    with pytest.raises(UsageError, match="one name"):
        AblationPlan((row, row), ())
    with pytest.raises(UsageError, match="nobody"):
        plan.select(["nobody"])
    with pytest.raises(UsageError, match="subset"):
        sets_of("atlantis")


def test_what_the_features_were_made_with_cannot_change(preset):
    row = AblationRow("x", "x", change={"model": {"clip": {"embed_dim": 3}}})
    with pytest.raises(UsageError, match="model.clip"):
        resolve(row, preset, 0, 1.0, HASHES)
    with pytest.raises(UsageError, match="unknown key"):
        resolve(AblationRow("x", "x", change={"phase_won": {}}), preset, 0, 1.0, HASHES)


def test_a_plan_is_read_strictly(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('[[row]]\nname = "x"\ntitle = "x"\nbranches = "clip"\n[[table]]\ntitle = "t"\nrows = []\n')
    with pytest.raises(InputError, match="branches"):
        load_plan(path)
