"""What documents and code say of each other: sections that are cited exist, and links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("docs/method.md", "docs/formats.md")
CITATION = re.compile(r"(docs/(?:method|formats)\.md)\s+(?:#\s*)?(\d+(?:\.\d+)?(?:(?:, | and |-)\d+(?:\.\d+)?)*)")
HEADING = re.compile(r"^#+ (\d+(?:\.\d+)?)\.? ", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def sections(document: str) -> list[str]:
    return HEADING.findall((ROOT / document).read_text(encoding="utf-8"))


def sources() -> list[Path]:
    folders = [ROOT / name for name in ("vidtag_cli", "training", "export", "tests", "docs")]
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".toml", ".md"}]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_number_stands_for_two_sections(document: str) -> None:
    numbers = sections(document)
    assert len(numbers) == len(set(numbers)) > 10


def test_cited_sections_exist() -> None:
    known = {document: set(sections(document)) for document in DOCUMENTS}
    missing = [
        f"{path.relative_to(ROOT)}: {document} {number}"
        for path in sources()
        for document, numbers in CITATION.findall(path.read_text(encoding="utf-8"))
        for number in re.findall(r"\d+(?:\.\d+)?", numbers)
        if number not in known[document]
    ]
    assert missing == []


@pytest.mark.parametrize("document", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
