"""Tables in a pipe: whole, however long their texts are."""

from tinymixer.cli.output import make_table, print_table


def test_a_table_in_a_pipe_is_as_wide_as_it_needs_to_be(capsys):
    table = make_table(["name", *(f"column {number}" for number in range(8))], "title")
    long = "a name that would take half of a line of eighty characters"
    table.add_row(long, *["123,456.7"] * 8)
    print_table(table)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if long in line)
    assert line.split()[-8:] == ["123,456.7"] * 8


def test_the_comparison_fits_a_terminal_of_eighty_columns(capsys):
    table = make_table(["", "images/s", "to ours", "ms/step", "TFLOP/s", "product", "copy", "MiB"], "title")
    table.add_row("torch.compile", "1,290", "0.49 x", "1,441", "0.0132", "100 %", "100 %", "1,671")
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert any("torch.compile" in line for line in lines)
    assert max(map(len, lines)) <= 80
