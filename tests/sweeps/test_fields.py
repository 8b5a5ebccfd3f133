"""What --grid and --search may say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer.errors import ConfigError
from tinymixer.sweeps.fields import SweptField, grid_points, parse_grid, parse_search


def test_a_grid_has_values_of_the_fields_own_kind():
    assert parse_grid("learning_rate=1e-3, 2e-3,1") == SweptField("optimizer.learning_rate", (1e-3, 2e-3, 1.0))
    assert parse_grid("model.hidden-dim=64,96") == SweptField("model.hidden_dim", (64, 96))
    assert parse_grid("flip=yes,no").values == (True, False)
    assert parse_grid("transforms=rand_augment(2, 9),trivial_augment").values == (
        "rand_augment(2, 9)",
        "trivial_augment",
    )


def test_a_range_has_two_ends_and_perhaps_a_logarithm():
    assert parse_search("learning_rate=1e-4..1e-2:log") == SweptField("optimizer.learning_rate", (), 1e-4, 1e-2, True)
    assert parse_search("hidden_dim=32..128").extremes == (32, 128)


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_grid, "lerning_rate=1", "Did you mean 'learning_rate'"),
        (parse_grid, "learning_rate", "expects FIELD=VALUE"),
        (parse_grid, "learning_rate=", "expects FIELD=VALUE"),
        (parse_grid, "learning_rate=1e-3,fast", "takes numbers, got 'fast'"),
        (parse_grid, "learning_rate=1e-3,0.001", "twice"),
        (parse_grid, "hidden_dim=1.5", "takes whole numbers"),
        (parse_grid, "learning_rate=nan", "takes numbers"),
        (parse_grid, "validation_share=0.1,0.2", "same validation images"),
        (parse_search, "learning_rate=1e-4", "LOW..HIGH"),
        (parse_search, "learning_rate=1..2:linear", "LOW..HIGH"),
        (parse_search, "learning_rate=2..1", "is empty"),
        (parse_search, "learning_rate=1..1", "is empty"),
        (parse_search, "learning_rate=0..1:log", "0 has no logarithm"),
        (parse_search, "optimizer=adamw..sgd", "list its values with --grid"),
    ],
)
def test_what_cannot_be_is_said(parse, text, said):
    with pytest.raises(ConfigError) as raised:
        parse(text)
    assert said in str(raised.value)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([parse_grid, parse_search]),
    st.sampled_from(["learning_rate=", "hidden_dim=", "flip=", ""]),
    st.text("0123456789.,:e-+=logyn( )", max_size=12) | st.text(max_size=12),
)
def test_any_text_is_a_field_or_a_sentence(parse, name, rest):
    try:
        field = parse(name + rest)
    except ConfigError:
        return
    assert SweptField.from_dict(field.to_dict()) == field


def test_a_grid_takes_all_combinations():
    fields = [SweptField("a", (1, 2)), SweptField("b", ("x", "y"))]
    assert list(grid_points(fields)) == [{"a": a, "b": b} for a, b in ((1, "x"), (1, "y"), (2, "x"), (2, "y"))]
