"""Published weights: small models saved in the file formats of the full ones, and everything that may be wrong."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from training.config import ClipConfig, DinoConfig, SiglipConfig
from training.config_files import load_config
from training.model.backbone_weights import load_published
from training.model.vidtag import build_dual_encoder
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import InputError, ModelError

SIDE_PX = 28
CLIP = ClipConfig(embed_dim=12, width=32, layers=1, patch_size=14, head_width=16)
DINO = DinoConfig(embed_dim=24, patch_size=14, layers=2, heads=2, image_size=42)
SIGLIP = SiglipConfig(embed_dim=24, patch_size=14, layers=1, heads=2, intermediate=40, image_size=SIDE_PX)

OWN_CODE = 1e-6
"""float32: the published classes themselves against ours around them."""


def encoder(**changes):
    config = dataclasses.replace(
        load_config("paper").model, **{"frame_size_px": SIDE_PX, "clip": CLIP, "dino": DINO, **changes}
    )
    torch.manual_seed(0)
    return build_dual_encoder(config)


def images(count=2):
    return torch.randn(count, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return a folder as the hub holds them: clip, dino and siglip, and the models that were saved."""
    import open_clip.model as published_clip
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel, SiglipModel
    from transformers import SiglipConfig as PublishedConfig

    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(7)
    vision = published_clip.CLIPVisionCfg(layers=1, width=32, head_width=16, patch_size=14, image_size=SIDE_PX)
    text = published_clip.CLIPTextCfg(context_length=8, vocab_size=30, width=16, heads=2, layers=1)
    clip = published_clip.CLIP(12, vision, text, quick_gelu=True).eval()
    (folder / "clip").mkdir()
    save_file(clip.state_dict(), folder / "clip" / "open_clip_model.safetensors")
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": True}}))
    torch.save(clip.state_dict(), folder / "open_clip_pytorch_model.bin")
    torch.save({"state_dict": {f"module.{name}": value for name, value in clip.state_dict().items()}}, folder / "x.pt")
    dino = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=42, patch_size=14,
        layer_norm_eps=1e-6,
    )).eval()  # fmt: skip
    for weight in dino.parameters():
        nn.init.normal_(weight, std=0.3)
    dino.save_pretrained(folder / "dino")
    siglip = SiglipModel(PublishedConfig(
        text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20,
                     "vocab_size": 30, "projection_size": 24},
        vision_config={"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 40,
                       "image_size": SIDE_PX, "patch_size": 14},
    )).eval()  # fmt: skip
    siglip.save_pretrained(folder / "siglip")
    return folder, {"clip": clip, "dino": dino, "siglip": siglip}


def changed(published, tmp_path, name, change):
    """Return a copy of a published file whose tensors were changed."""
    tensors = load_file(published / name)
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    return str(tmp_path / "model.safetensors")


CLIP_FORMS = ("clip", "clip/open_clip_model.safetensors", "open_clip_pytorch_model.bin", "x.pt")


@pytest.mark.parametrize("form", CLIP_FORMS)
@torch.no_grad()
def test_clip_and_dino_give_what_their_own_code_gives(published, form):
    folder, models = published
    ours = encoder()
    records = load_published(ours, str(folder / form), str(folder / "dino"))
    assert torch.allclose(ours.clip(images()), models["clip"].encode_image(images()), atol=OWN_CODE)
    token = models["dino"](pixel_values=images()).last_hidden_state[:, 0]
    assert torch.allclose(ours.dino(images()), token, atol=OWN_CODE)
    assert not any(weight.requires_grad for weight in ours.parameters())
    assert records["second"].sha256 == sha256_of(folder / "dino" / "model.safetensors")
    assert len(records["clip"].sha256) == 64


@torch.no_grad()
def test_siglip_gives_what_its_own_code_gives(published):
    folder, models = published
    ours = encoder(siglip=SIGLIP)
    load_published(ours, str(folder / "clip"), str(folder / "siglip"))
    wanted = models["siglip"].vision_model(pixel_values=images()).pooler_output
    assert torch.allclose(ours.dino(images()), wanted, atol=OWN_CODE)
    frames = torch.zeros(1, SIDE_PX, SIDE_PX, 3, dtype=torch.uint8)
    _, second = ours.branches(frames)
    assert torch.allclose(second, ours.dino(torch.full((1, 3, SIDE_PX, SIDE_PX), -1.0)), atol=1e-5)


@torch.no_grad()
def test_a_file_alone_is_enough_for_dino(published):
    folder, models = published
    ours = encoder()
    load_published(ours, str(folder / "clip"), str(folder / "dino" / "model.safetensors"))
    assert torch.allclose(
        ours.dino(images()), models["dino"](pixel_values=images()).last_hidden_state[:, 0], atol=OWN_CODE
    )


def test_published_weights_in_half_precision_become_float32(published, tmp_path):
    folder, _ = published
    halves = {name: value.half() for name, value in load_file(folder / CLIP_FORMS[1]).items()}
    save_file(halves, tmp_path / "half.safetensors")
    ours = encoder()
    load_published(ours, str(tmp_path / "half.safetensors"), str(folder / "dino"))
    assert all(weight.dtype == torch.float32 for weight in ours.parameters())


KEYS = {
    "dino, missing": ("dino/model.safetensors", lambda t: t.pop("layernorm.weight"), "missing: layernorm.weight"),
    "dino, another shape": (
        "dino/model.safetensors", lambda t: t.update({"layernorm.bias": torch.zeros(5)}),
        r"of another shape: layernorm.bias \(5,\) instead of \(24,\)",
    ),
    "dino, unexpected": (
        "dino/model.safetensors", lambda t: t.update({"classifier.weight": torch.zeros(2)}),
        "unexpected: classifier.weight",
    ),
    "clip, missing": (CLIP_FORMS[1], lambda t: t.pop("visual.proj"), "missing: proj"),
    "clip, another shape": (
        CLIP_FORMS[1], lambda t: t.update({"visual.proj": torch.zeros(3, 4)}),
        r"of another shape: proj \(3, 4\) instead of \(32, 12\)",
    ),
    "clip, unexpected": (CLIP_FORMS[1], lambda t: t.update({"visual.x": torch.zeros(1)}), "unexpected: x"),
    "clip as transformers saves it": (
        CLIP_FORMS[1], lambda t: [t.update({f"vision_model.{n}": t.pop(n)}) for n in list(t)], "transformers' form",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYS)
def test_wrong_keys_are_named(published, tmp_path, case):
    folder, _ = published
    file, change, said = KEYS[case]
    path = changed(folder, tmp_path, file, change)
    clip, second = (path, str(folder / "dino")) if case.startswith("clip") else (str(folder / "clip"), path)
    with pytest.raises(ModelError, match=said):
        load_published(encoder(), clip, second)


def test_a_deeper_model_is_told_by_its_config(published):
    folder, _ = published
    with pytest.raises(ModelError, match="num_hidden_layers 2 instead of 3"):
        load_published(encoder(dino=dataclasses.replace(DINO, layers=3)), str(folder / "clip"), str(folder / "dino"))


def test_the_other_gelu_is_told_by_its_config(published):
    folder, _ = published
    plain = encoder(clip=dataclasses.replace(CLIP, quick_gelu=False))
    with pytest.raises(ModelError, match="quick_gelu = True, but the configuration says gelu"):
        load_published(plain, str(folder / "clip"), str(folder / "dino"))


class Arbitrary:
    """Something that would run code when it is unpickled."""

    def __reduce__(self):
        return print, ("opened",)


def test_nothing_but_tensors_is_opened(published, tmp_path, capsys):
    folder, _ = published
    torch.save({"weight": Arbitrary()}, tmp_path / "evil.pt")
    scripted = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    scripted.save(str(tmp_path / "scripted.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    for name in ("evil.pt", "scripted.pt", "list.pt", "torn.safetensors"):
        with pytest.raises(ModelError, match=name):
            load_published(encoder(), str(tmp_path / name), str(folder / "dino"))
    assert "opened" not in capsys.readouterr().out


def test_a_place_without_weights_says_what_is_looked_for(published, tmp_path):
    folder, _ = published
    with pytest.raises(InputError, match=r"open_clip_model\.safetensors"):
        load_published(encoder(), str(tmp_path), str(folder / "dino"))
    with pytest.raises(InputError, match="no such file"):
        load_published(encoder(), str(tmp_path / "nothing"), "")
    with pytest.raises(InputError, match="no weights are named"):
        load_published(encoder(), "", "")


def test_the_hub_is_asked_only_when_allowed(published, tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder, _ = published
    asked = []

    def download(name, *, local_files_only, allow_patterns):
        asked.append((name, local_files_only))
        if local_files_only and name == "somebody/clip":
            raise LocalEntryNotFoundError("not here")
        return str(folder / name.rsplit("/", 1)[1])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(InputError, match="not in the local cache; --allow-download fetches it"):
        load_published(encoder(), "hub:somebody/clip", "hub:somebody/dino")
    records = load_published(encoder(), "hub:somebody/clip", "hub:somebody/dino", allow_download=True)
    assert asked == [("somebody/clip", True), ("somebody/clip", False), ("somebody/dino", False)]
    assert records["clip"].source == "hub:somebody/clip"


def test_the_paper_names_its_weights():
    model = load_config("paper").model
    assert model.clip.weights.startswith("hub:")
    assert model.dino.weights == "hub:facebook/dinov2-with-registers-large"
    assert load_config("paper_siglip").model.siglip.weights.startswith("hub:google/siglip")
