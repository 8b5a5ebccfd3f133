"""Makes a command line option for every field of a recipe, from the declarations in the recipe's sections."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tinymixer.training.recipe_fields import RecipeField

SECTION_TITLES = {
    "model": "Model",
    "data": "Data",
    "augmentation": "Augmentation",
    "optimizer": "Optimizer",
    "schedule": "Schedule",
    "training": "Training",
    "fine_tuning": "Fine-tuning",
}
METAVARS = {"data.data": "PATH", "fine_tuning.init_from": "RUN"}
TAKEN_FROM_DATA = ("model.image_size", "model.in_channels", "model.num_classes")


class RecipeOption(click.Option):
    """An option that overrides one field of the recipe; the default, None, leaves the field unchanged."""

    def __init__(self, *arguments: Any, section: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.section = section


class RecipeCommand(click.Command):
    """A command with an option for every field of a recipe; its help lists them by section.

    An option that the command declares itself takes the place of a field's of the same name. The options are made only
    when this command runs, so that other commands start without loading recipes.
    """

    _recipe_options: list[RecipeOption] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        if self._recipe_options is None:
            taken = {name for parameter in own for name in parameter.opts}
            self._recipe_options = [option for option in make_recipe_options() if taken.isdisjoint(option.opts)]
        return [*own, *self._recipe_options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                title = "Options"
                if isinstance(parameter, RecipeOption):
                    title = SECTION_TITLES.get(parameter.section, parameter.section.capitalize())
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=34)


def make_recipe_options() -> list[RecipeOption]:
    """One option for each field of each section, in the order of the recipe's file."""
    from tinymixer.training.recipe_fields import recipe_fields, short_names

    options, short = [], short_names()
    for entry in recipe_fields().values():
        unique = len(short[entry.name]) == 1
        dashed = (entry.name if unique else entry.qualified).replace("_", "-")
        value_type = click.Choice(entry.choices) if entry.choices else entry.kind
        options.append(
            RecipeOption(
                [f"--{dashed}/--no-{dashed}" if entry.kind is bool else f"--{dashed}", parameter_name(entry.qualified)],
                section=entry.section,
                type=None if entry.kind is bool else value_type,
                default=None,
                metavar=METAVARS.get(entry.qualified),
                help=_sentence(entry.help) + _default(entry),
            )
        )
    return options


def _default(entry: "RecipeField") -> str:
    """The help text for a field's default: its value where neither the recipe nor the command line sets it."""
    if entry.qualified in TAKEN_FROM_DATA:
        return " [default: the data's]"
    value = entry.default
    if value == "" or value is None:
        return ""
    shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
    return f" [default: {shown:g}]" if isinstance(shown, float) else f" [default: {shown}]"


def parameter_name(qualified: str) -> str:
    """The Python name of a field's option, which must not contain a dot."""
    return qualified.replace(".", "__")


def overrides_of(parameters: dict[str, Any]) -> dict[str, Any]:
    """The options given on the command line: qualified field name -> value."""
    return {name.replace("__", "."): value for name, value in parameters.items()}


def _sentence(text: str) -> str:
    """A help text with a capital letter at its beginning and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
