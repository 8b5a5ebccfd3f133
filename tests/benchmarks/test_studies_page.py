"""docs/studies: every study has a page, whose numbers are those that are committed beside it."""

import json

import pytest
from click import ClickException

from benchmarks import studies_page
from tinymixer.studies import study_names

FILES = sorted(studies_page.PAGES.glob("*.json"))


def test_every_study_has_committed_numbers():
    assert {path.stem for path in FILES} >= set(study_names())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_page_says_what_its_numbers_say(path):
    """After a change: python -m benchmarks.studies_page FOLDER --write"""
    numbers = json.loads(path.read_text(encoding="utf-8"))
    text = (studies_page.PAGES / f"{numbers['study']}.md").read_text(encoding="utf-8")
    assert numbers["complete"]
    assert studies_page.called(numbers) == path.stem
    assert all(sentence in text for sentence in numbers["conclusions"])
    assert studies_page.beside_the_paper(numbers) in text
    assert studies_page.how(numbers) in text
    for picture in (studies_page.picture_as(name, numbers) for name in numbers["pictures"]):
        content = (studies_page.PAGES / picture).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < studies_page.LARGEST_PICTURE
        assert f"({picture})" in text


def test_a_page_without_a_place_is_refused_and_numbers_stay_json():
    with pytest.raises(ClickException, match="no place for its numbers"):
        studies_page.page("# A study", {"form": "full"})
    part = {"name": "a", "figures": {"accuracy": 0.5, "validation_losses": [1.0, 0.5], "epochs": [{"epoch": 1}]}}
    kept = json.loads(studies_page.kept({"study": "x", "groups": {}, "parts": [part, part]}))
    assert kept == {"study": "x", "parts": [{"name": "a", "figures": {"accuracy": 0.5}}] * 2}


def test_the_full_form_has_its_own_place_and_files():
    numbers = {
        "study": "data", "question": "Who?", "form": "full", "pictures": ["data.png"], "conclusions": ["The Mixer."],
        "beside_the_paper": [], "groups": {}, "seeds": [0], "parts": [], "steps_override": 200,
        "machine": {"processor": "P", "system": "S"}, "versions": {"python": "3", "numpy": "2", "blas": "B"},
        "seconds": {"processor": 7200.0}, "data": {"name": "cifar10", "train_images": 50000},
    }  # fmt: skip
    quick = "<!-- numbers -->\nquick\n<!-- end of numbers -->"
    made = studies_page.page(f"{quick}\n<!-- full form -->\n\n<!-- end of full form -->\nAfter.\n", numbers)
    assert quick in made
    assert made.endswith("<!-- end of full form -->\nAfter.\n")
    assert "(data-full.png)" in made
    assert "(data-full.json)" in made
    assert "Every run has 200 steps (`--steps 200`)." in made
    parts = [{"figures": {"steps": 200}}, {"figures": {"steps": 100}}, {"figures": {}}]
    assert "Runs of full length have 200 steps (`--steps 200`)." in studies_page.how(numbers | {"parts": parts})


def test_a_table_has_the_columns_that_a_study_has_figures_for():
    def group(**figures):
        spreads = {name: {"mean": value, "low": value, "high": value} for name, value in figures.items()}
        return {"what": {"model": "mixer"}, "seeds": [0], "figures": spreads}

    usual = {"a": group(validation_accuracy=0.5, steps=10)}
    assert studies_page.table({"groups": usual}).splitlines()[0] == "| model | seeds | validation accuracy, % | steps |"
    more = usual | {"b": group(validation_accuracy=0.5, clean_accuracy=0.75, steps=10)}
    lines = studies_page.table({"groups": more}).splitlines()
    assert lines[0] == "| model | seeds | validation accuracy, % | on unchanged training images, % | steps |"
    assert lines[2:] == ["| mixer | 1 | 50.0 |  | 10 |", "| mixer | 1 | 50.0 | 75.0 | 10 |"]
