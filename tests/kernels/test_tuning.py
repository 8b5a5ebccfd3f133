"""The file of what was fastest on a machine."""

from tinymixer.kernels.tuning import Tuning


def test_a_choice_is_remembered_by_the_next_run(tmp_path):
    path = tmp_path / "folder" / "gpu.json"
    first = Tuning(path)
    assert first.get("a") is None
    first.put("a", "x")
    first.put("b", "y")
    again = Tuning(path)
    assert (again.get("a"), again.get("b")) == ("x", "y")
    assert [file.name for file in path.parent.iterdir()] == ["gpu.json"]


def test_a_damaged_file_counts_as_empty(tmp_path):
    for text in ("{", "[1]", "\x00"):
        (tmp_path / "gpu.json").write_text(text)
        tuning = Tuning(tmp_path / "gpu.json")
        assert tuning.get("a") is None
        tuning.put("a", "x")
        assert Tuning(tmp_path / "gpu.json").get("a") == "x"


def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path):
    (tmp_path / "file").write_text("")
    tuning = Tuning(tmp_path / "file" / "gpu.json")
    tuning.put("a", "x")
    assert tuning.get("a") == "x"
