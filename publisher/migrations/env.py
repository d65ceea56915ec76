"""What Alembic runs: the migrations, on the connection that `publisher.migrations.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from publisher.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",  # SQLite alters a table by making it anew
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
