"""What the documents show is true: agent files are valid, commands run and print what stands below them, links lead
somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from callboard.config.agent_file import load_agent
from callboard.config.models_file import load_models
from tests.docs.blocks import DOCUMENTS, Block, all_blocks, blocks, differs, prose
from tests.docs.workshop import TRIAL_SETTINGS, workshop
from tests.support.processes import ROOT

LANGUAGES = {"bash", "python", "yaml", "text", "mermaid"}
RUN = {"bash", "python"}
MOST_NOT_RUN = 6
"""Blocks that only illustrate are the exception."""
NEEDS = ("needs Docker", "needs a cluster")
"""What a machine that runs the tests may not have; these blocks are as many as the deployments have commands."""
MODELS = "models-file.md"
_LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")


def _name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def _is_for_a_reader(document: Path) -> bool:
    return any(block.language in RUN and not block.left_alone for block in blocks(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_block_says_its_language(document: Path) -> None:
    assert [block.name for block in blocks(document) if block.language not in LANGUAGES] == []


@pytest.mark.parametrize(
    "block", [each for each in all_blocks("yaml") if each.document.name != MODELS], ids=lambda block: block.name
)
def test_every_agent_file_shown_is_valid(block: Block) -> None:
    file = load_agent(block.text.encode(), block.name)
    assert [str(problem) for problem in (*file.problems, *file.warnings)] == []


@pytest.mark.parametrize(
    "text",
    [
        *(block.text for block in all_blocks("yaml") if block.document.name == MODELS),
        (ROOT / "config/models.yaml").read_text(),
        # What stands there as an example is valid once it is more than a comment.
        "\n".join(
            line.removeprefix("#").removeprefix(" ")
            for line in (ROOT / "config/models.yaml").read_text().splitlines()[2:]
        ),
    ],
    ids=["page", "sample", "sample without #"],
)
def test_every_models_file_shown_is_valid(text: str) -> None:
    loaded = load_models(text.encode(), "models.yaml")
    assert [str(problem) for problem in loaded.problems] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_link_leads_to_a_file(document: Path) -> None:
    links = [link for link in _LINK.findall(prose(document)) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [(block.name, block.why_not_run) for block in all_blocks(*RUN) if block.why_not_run]
    left_out = [(name, why) for name, why in left_out if why not in NEEDS]
    assert len(left_out) <= MOST_NOT_RUN, left_out


def test_a_block_that_another_test_runs_is_known_there() -> None:
    for block in all_blocks(*RUN):
        if block.run_by is not None:
            assert block.document.name in (ROOT / block.run_by).read_text(), block.name


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", [each for each in DOCUMENTS if _is_for_a_reader(each)], ids=_name)
def test_what_the_document_tells_to_do_does_what_it_says(document: Path, tmp_path: Path) -> None:
    every = blocks(document)
    with workshop(tmp_path) as reader:
        if not any(block.text.strip() == "callboard up" for block in every):
            # The document begins where another one ended: with Callboard running.
            (tmp_path / ".env").write_text(TRIAL_SETTINGS)
            reader.up()
        printed = ""
        for block in every:
            if block.left_alone:
                printed = "…"
            elif block.language == "bash":
                printed = reader.shell(block.text)
            elif block.language == "python" and block.saved_as is None:
                printed = reader.python(block.text)
            elif block.saved_as is not None:
                reader.save(block.saved_as, block.text)
            elif block.language == "text" and printed != "…":
                missing = differs(block.text, printed)
                assert missing is None, f"{block.name}: no line {missing!r} in what was printed:\n{printed}"


@pytest.mark.parametrize(
    ("expected", "printed", "missing"),
    [
        ("done in 5 ms", "done  in 17 ms\n", None),
        ("a\n…\nc", "a\nb\nc\n", None),
        ("trace …", "trace 0af7651916cd43dd8448eb211c80319c", None),
        ("c\na", "a\nc\n", "a"),
        ("done", "not done\n", "done"),
    ],
)
def test_a_shown_output_is_compared_line_by_line(expected: str, printed: str, missing: str | None) -> None:
    assert differs(expected, printed) == missing
