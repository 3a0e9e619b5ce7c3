"""`milepost openapi`: the OpenAPI document, without a service that runs."""

import msgspec
import typer
from litestar import Litestar

from milepost.app import ROUTES
from milepost.openapi import document


def show() -> None:
    """Print the OpenAPI document of the API on standard output."""
    app = Litestar(ROUTES, openapi_config=None)
    typer.echo(msgspec.json.format(msgspec.json.encode(document(app)), indent=2))
