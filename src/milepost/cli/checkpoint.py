"""How far an import has come, kept beside its file so that a repeated run goes on from there."""

import hashlib
from pathlib import Path

import msgspec

HEAD = 64 * 1024
"""Bytes of a file's beginning that tell it from another one."""


class Checkpoint(msgspec.Struct, kw_only=True):
    """The place up to which a file's lines are imported. A file is known by its size and its beginning."""

    database: str
    size: int
    beginning: str
    offset: int = 0
    line: int = 0
    imported: dict[str, int] = {}
    bad: int = 0

    def is_of(self, other: "Checkpoint") -> bool:
        """Whether both are of the same file on its way into the same database."""
        return (self.database, self.size, self.beginning) == (other.database, other.size, other.beginning)


def at_start(file: Path, database: str) -> Checkpoint:
    """The checkpoint of a file of which nothing is imported yet."""
    with file.open("rb") as stream:
        beginning = hashlib.sha256(stream.read(HEAD)).hexdigest()
    return Checkpoint(database=database, size=file.stat().st_size, beginning=beginning)


def place(file: Path) -> Path:
    return file.with_name(file.name + ".milepost-progress")


def load(file: Path) -> Checkpoint | None:
    """What a run before this one has left; None where there is nothing that can be read."""
    try:
        return msgspec.json.decode(place(file).read_bytes(), type=Checkpoint)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def save(file: Path, checkpoint: Checkpoint) -> None:
    """Put the checkpoint in place of the last one, whole or not at all."""
    fresh = place(file).with_suffix(".milepost-progress-new")
    fresh.write_bytes(msgspec.json.encode(checkpoint))
    fresh.replace(place(file))


def remove(file: Path) -> None:
    place(file).unlink(missing_ok=True)
