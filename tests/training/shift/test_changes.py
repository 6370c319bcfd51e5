"""Changes are what they are called, at every strength, and leave the size of a film."""

import numpy as np
import pytest

from training.shift.changes import KINDS, Change, apply_change

SIZE = 24


@pytest.fixture(scope="module")
def film():
    """Return two clips of three frames that are brighter, bluer and busier at one side than at the other."""
    ramp = np.linspace(0.2, 0.9, 192)
    scene = np.stack([np.outer(np.ones(192), ramp), np.outer(ramp, np.ones(192)), np.full((192, 192), 0.5)], -1)
    frames = np.stack([scene * (0.9 + 0.05 * number) for number in range(6)])
    return (255 * frames.clip(0, 1)).astype(np.uint8).reshape(2, 3, 192, 192, 3)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_can_be_filmed_at_its_ends(film, name):
    kind = KINDS[name]
    for strength in {kind.low, kind.high}:
        assert apply_change(film, kind.make(strength), SIZE).shape == (2, 3, SIZE, SIZE, 3)


def changed(film, name):
    kind = KINDS[name]
    return apply_change(film, kind.make(kind.typical), SIZE).astype(np.float64)


def test_kinds_do_what_they_say(film):
    plain = changed(film, "none")
    chroma = np.abs(changed(film, "grey") - changed(film, "grey").mean(-1, keepdims=True)).mean()
    assert chroma < 2.0 < np.abs(plain - plain.mean(-1, keepdims=True)).mean()
    assert changed(film, "dark").mean() == pytest.approx(0.35 * plain.mean(), rel=0.05)
    assert changed(film, "bright").mean() == pytest.approx(255 - 0.5 * (255 - plain.mean()), rel=0.05)
    np.testing.assert_allclose(changed(film, "mirrored"), plain[:, :, :, ::-1], atol=6.0)
    np.testing.assert_allclose(changed(film, "negative"), 255.0 - plain, atol=12.0)
    assert changed(film, "letterbox")[:, :, :2].max() < 20.0 and changed(film, "pillarbox")[:, :, :, :2].max() < 20.0
    assert np.ptp(changed(film, "cropped")[..., 0]) < 0.7 * np.ptp(plain[..., 0])


def test_frames_keep_their_order_through_the_codec(film):
    means = changed(film, "none").mean((2, 3, 4)).ravel()
    assert (np.diff(means) > 0).all()


def test_a_filter_that_ffmpeg_does_not_know_is_an_error(film):
    with pytest.raises(Exception, match="non-zero"):
        apply_change(film, Change("nosuchfilter"), SIZE)
