"""A group of commands that shows its help when called without one, and suggests the nearest name for a misspelt one."""

from typing import Any

import click

from tinymixer.errors import nearest


class CommandGroup(click.Group):
    """Lists its commands in the order in which they were added, which is the order in which a user needs them."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        keywords.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        keywords.setdefault("invoke_without_command", True)
        super().__init__(*arguments, **keywords)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return result

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            expected = ", ".join(self.commands)
            ctx.fail(f"There is no command '{args[0]}': expected {expected}.{nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)
