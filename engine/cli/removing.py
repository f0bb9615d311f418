"""`penstock forget` and `penstock prune`: what they take, and what they say of themselves."""

import click

from engine.telemetry.text import seconds_of

workdir_argument = click.argument("workdir", metavar="DIR", type=click.Path())

trust_option = click.option(
    "--trust",
    "trusted",
    is_flag=True,
    help="Use the folder's settings also where they are not those of a run of yours.",
)


class Age(click.ParamType[float]):
    """A time such as "7d", in seconds."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return value if isinstance(value, float) else seconds_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command
@workdir_argument
@click.argument("item")
@trust_option
def forget(workdir: str, item: str, trusted: bool) -> None:
    """Take an ITEM, by its id or source, out of a work folder and all that was made of it.

    Out of the results, of the stores that the pipeline writes to, its folder and the ledger. Given
    again to a run, the source is done anew.
    """
    from engine.cli.forget_command import forget_item

    forget_item(workdir, item, trusted)


@click.command
@workdir_argument
@click.option(
    "--older", type=Age(), metavar="TIME", required=True, help='Such as "30min", "12h", "7d", "2w".'
)
@click.option("--sinks", is_flag=True, help="Also out of the stores that the pipeline writes to.")
@click.option("--dry-run", is_flag=True, help="Only say what would go, and how much that frees.")
@trust_option
def prune(workdir: str, older: float, sinks: bool, dry_run: bool, trusted: bool) -> None:
    """Take all that ended, and was last asked for, longer ago than TIME out of a work folder.

    Out of the results, its folder and the ledger, and kept answers that were not used since. What
    is pending stays. Given again to a run, a source is done anew. For a worker there is also
    limits.ttl.
    """
    from engine.cli.prune_command import prune_folder

    prune_folder(workdir, older, sinks=sinks, dry_run=dry_run, trusted=trusted)
