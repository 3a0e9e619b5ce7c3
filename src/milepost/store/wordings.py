"""The texts of published catalogs: read once in a process, since a version never changes."""

from collections.abc import Collection
from functools import cache
from threading import Lock

import msgspec
from sqlalchemy import BigInteger, Connection, Executable, Text, select

from milepost.domain.catalog import Catalog
from milepost.domain.progress import Progress
from milepost.domain.wording import Wording, wording_of
from milepost.store.database import as_rows, rows
from milepost.store.schema import catalogs

MOST_BYTES = 32 * 2**20
"""How many bytes of catalogs, as they are stored, a process keeps the texts of."""

WITHOUT_TRANSLATIONS = 200
"""What a catalog counts of which only the name of its language is kept."""

Edition = tuple[str, int, int]
"""One version of a catalog: whose, which number, and when it was published. The time tells it from a version of the
same number where an organization was deleted and made anew."""

decode = msgspec.json.Decoder(Catalog).decode


def edition(progress: Progress) -> Edition:
    """The version that a checklist was made from."""
    return progress.org_id, progress.version, progress.published


class Wordings:
    """The texts that are kept; what was read first makes room first. Safe to use from several threads."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[Edition, Wording] = {}
        self._sizes: dict[Edition, int] = {}
        self._lock = Lock()

    def of(self, connection: Connection, editions: Collection[Edition]) -> dict[Edition, Wording]:
        """The texts of each version; one more statement where some of them are not kept yet.

        A version that there is no more is left out.
        """
        found = {one: wording for one in editions if (wording := self._kept.get(one)) is not None}
        missing = {one for one in editions if one not in found}
        if missing:
            found |= self._read(connection, missing)
        return found

    def _read(self, connection: Connection, missing: Collection[Edition]) -> dict[Edition, Wording]:
        asked = {"editions": as_rows(sorted(missing))}
        found: dict[Edition, Wording] = {}
        for org_id, version, published, body in connection.execute(_statement(connection.dialect.name), asked):
            wording = wording_of(decode(body))
            found[org_id, version, published] = wording
            self._keep((org_id, version, published), wording, len(body) if wording.steps else WITHOUT_TRANSLATIONS)
        return found

    def _keep(self, one: Edition, wording: Wording, size: int) -> None:
        with self._lock:
            self._kept[one], self._sizes[one] = wording, size
            while sum(self._sizes.values()) > self._most_bytes and len(self._sizes) > 1:
                oldest = next(iter(self._sizes))
                del self._kept[oldest], self._sizes[oldest]


@cache
def _statement(dialect: str) -> Executable:
    asked = rows(dialect, "editions", org_id=Text, version=BigInteger, published=BigInteger)
    return select(asked.c.org_id, asked.c.version, asked.c.published, catalogs.c.body).join(
        catalogs, (catalogs.c.org_id == asked.c.org_id) & (catalogs.c.version == asked.c.version)
    )


wordings = Wordings()
"""Those of this process."""
