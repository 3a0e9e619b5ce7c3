"""`milepost settings`: every setting with its value and where it came from."""

from milepost.cli.terminal import DatabaseOption, new_table, print_table, settings_from
from milepost.settings import help_of, shown, variable


def show(database: DatabaseOption = None) -> None:
    """Print every setting with its source; passwords are masked."""
    sourced = settings_from(database=database)
    table = new_table("variable", "value", "source", "meaning")
    for field in sourced.settings.__struct_fields__:
        value = shown(field, getattr(sourced.settings, field))
        table.add_row(variable(field), value or "-", sourced.sources[field], help_of(field))
    print_table(table)
