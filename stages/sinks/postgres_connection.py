"""A connection to a Postgres database, in one schema of it, whose errors are told in one line."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engine import StopRun, Transient, UsageError, shown_in
from stages.sinks.postgres_schema import look_in

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_SECONDS = 15

MOST_WORDS = 300


class PostgresConnection:
    """Opened when it is first used, and again after it was lost. Used from one thread at a time."""

    def __init__(self, variable: str, schema: str, *, what: str, otherwise: str) -> None:
        """`variable` names the environment variable with the connection's URL. `what` needs it, and
        `otherwise` says how to do without. Raises UsageError where the driver or the URL is
        missing."""
        try:
            import psycopg
        except ImportError:
            raise UsageError(
                f"{what} needs psycopg: pip install 'penstock[postgres]', {otherwise}"
            ) from None
        self.url = os.environ.get(variable, "").strip()
        if not self.url:
            raise UsageError(
                f"{what} needs a connection URL: put it into the environment variable {variable}, "
                f"{otherwise}"
            )
        self.schema = schema
        self._variable = variable
        self._psycopg = psycopg
        self._connection: Connection[Any] | None = None
        try:
            self.host = _host_of(psycopg.conninfo.conninfo_to_dict(self.url))
        except psycopg.ProgrammingError:
            raise UsageError(
                f"the environment variable {variable} holds no connection URL; give one such as "
                "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
            ) from None

    @contextmanager
    def reading(self) -> "Iterator[Connection[Any]]":
        """One transaction, which sees what is there at its beginning."""
        with self._explained():
            db = self._connected()
            with db.transaction():
                db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                look_in(db, self.schema)
                yield db

    @contextmanager
    def writing(self) -> "Iterator[Connection[Any]]":
        """One transaction, which holds the writers' lock."""
        with self._explained():
            db = self._connected()
            with db.transaction():
                look_in(db, self.schema)
                lock = f"penstock {self.schema}"
                db.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (lock,))
                yield db

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> "Connection[Any]":
        if self._connection is None or self._connection.closed:
            self._connection = self._psycopg.connect(
                self.url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                prepare_threshold=None,  # a pooler such as Supabase's keeps no statements
                application_name="penstock",
            )
        return self._connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns the driver's errors into one line: UsageError for what a person has to mend,
        StopRun for a full disk, Transient for a server that is away. None repeats the URL."""
        errors = self._psycopg.errors
        try:
            yield
        except errors.DiskFull as error:
            raise StopRun(f"{self.host}: the disk is full; make room and run again") from error
        except errors.InsufficientPrivilege as error:
            if "extension" in _told(error):
                raise UsageError(
                    f"{self.host} has no pgvector, and the user in {self._variable} may not add "
                    "it; have somebody who may run CREATE EXTENSION vector, or set "
                    'stages.persist.meaning = "off"'
                ) from error
            raise UsageError(
                f"{self.host}: {_told(error)}; the user in {self._variable} has to own the "
                f"schema {self.schema}, or be allowed to make it"
            ) from error
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise UsageError(
                f"{self.host} has no pgvector ({_told(error)}); install it on the server, or "
                'set stages.persist.meaning = "off"'
            ) from error
        except errors.ReadOnlySqlTransaction as error:
            raise UsageError(f"{self.host} can only be read; name another server") from error
        except (self._psycopg.OperationalError, self._psycopg.InterfaceError) as error:
            self.close()
            told = _told(error)
            if re.search("authentication|pg_hba|does not exist|Tenant or user", told):
                raise UsageError(
                    f"{self.host} does not let us in: {told}; check {self._variable}"
                ) from None
            raise Transient(
                f"{self.host} does not answer: {told}; check the server, and {self._variable}",
                kind="postgres",
            ) from None


def _host_of(parts: Mapping[str, Any]) -> str:
    """The server and the database, without user and password."""
    host, name = parts.get("host") or "this machine", parts.get("dbname")
    return f"Postgres at {host}, database {name}" if name else f"Postgres at {host}"


def _told(error: BaseException) -> str:
    """What the server said, in one line."""
    diagnosis = getattr(error, "diag", None)
    if diagnosis is not None and diagnosis.message_primary:
        return shown_in(" ".join(diagnosis.message_primary.split()))[:MOST_WORDS]
    lines = [line for line in str(error).splitlines() if line.strip()]
    return shown_in(" ".join(lines[-1].split()))[:MOST_WORDS] if lines else type(error).__name__
