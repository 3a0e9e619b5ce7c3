"""Runs Alembic's migrations on the connection that `milepost.store.versions` hands over."""

from alembic import context

from milepost.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
