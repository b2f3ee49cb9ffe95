"""The zip archive that a ``.keras`` file is: its members, and what they unpack to."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from helpers.formats.identify import ArtifactError

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = frozenset({"metadata.json", CONFIG, WEIGHTS})

LARGEST_CONFIG = 2**26
LARGEST_UNPACKED = 2**30
MOST_MEMBERS = 10_000
TRUST_REMEDY = (
    "No model needs that. Ask the author for another file. If you know where it comes from: "
    "trust=True, or --trust in a terminal."
)


def read_config(path: Path) -> bytes:
    """Return ``config.json``.

    Raises:
        ArtifactError: the archive unpacks to more than any model needs beside its weights.
        Exception: whatever a damaged archive makes ``zipfile`` raise.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        config = archive.getinfo(CONFIG).file_size
        assets = sum(each.file_size for each in members if each.filename != WEIGHTS)
        if config > LARGEST_CONFIG or assets > LARGEST_UNPACKED or len(members) > MOST_MEMBERS:
            raise ArtifactError(
                path,
                f"it unpacks to {len(members):,} members, {assets / 2**20:,.0f} MiB beside its "
                f"weights, and a configuration of {config / 2**20:,.0f} MiB",
                TRUST_REMEDY,
            )
        return archive.read(CONFIG)


@contextmanager
def open_weights(archive: zipfile.ZipFile) -> Iterator[IO[bytes]]:
    """Open the HDF5 file in the archive for reading here and there.

    Keras stores it as it is. Then it is read in place: Python 3.11's zipfile starts at the
    beginning again for each step back, which took 3.4 s for the weights of ResNet50, and 0.04 s so.
    """
    member = archive.getinfo(WEIGHTS)
    encrypted = member.flag_bits & 1
    if member.compress_type != zipfile.ZIP_STORED or encrypted or archive.filename is None:
        with archive.open(member) as weights:
            yield weights
        return
    with open(archive.filename, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(30)  # as the zip format says: then come the name, extra data, the member
        lengths = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        part = _Part(file, member.header_offset + len(header) + sum(lengths), member.file_size)
        yield io.BufferedReader(part)


class _Part(io.RawIOBase):
    """Some bytes of a file, as a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """Read from the place on."""
        self._file.seek(self._start + self._at)
        content = self._file.read(max(min(len(buffer), self._size - self._at), 0))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
