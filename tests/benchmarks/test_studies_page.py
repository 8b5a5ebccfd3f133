"""docs/studies: every study has a page, whose numbers are those that are committed beside it."""

import json

import pytest
from click import ClickException

from benchmarks import studies_page
from tinymixer.studies import study_names


@pytest.mark.parametrize("name", study_names())
def test_a_page_says_what_its_numbers_say(name):
    """After a change: python -m benchmarks.studies_page FOLDER --write"""
    numbers = json.loads((studies_page.PAGES / f"{name}.json").read_text(encoding="utf-8"))
    text = (studies_page.PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert numbers["complete"]
    assert all(sentence in text for sentence in numbers["conclusions"])
    assert studies_page.beside_the_paper(numbers) in text
    assert studies_page.how(numbers) in text
    for picture in numbers["pictures"]:
        content = (studies_page.PAGES / picture).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < studies_page.LARGEST_PICTURE
        assert f"({picture})" in text


def test_a_page_without_a_place_is_refused_and_numbers_stay_json():
    with pytest.raises(ClickException, match="no place for its numbers"):
        studies_page.page("# A study", {})
    part = {"name": "a", "figures": {"accuracy": 0.5, "validation_losses": [1.0, 0.5], "epochs": [{"epoch": 1}]}}
    kept = json.loads(studies_page.kept({"study": "x", "groups": {}, "parts": [part, part]}))
    assert kept == {"study": "x", "parts": [{"name": "a", "figures": {"accuracy": 0.5}}] * 2}


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
