"""Records of a zip archive: where their values are in the file, and their checksums after the values changed."""

import struct
import zipfile
import zlib
from typing import IO

from torchinit.cli._readers import PathLike

# Sizes of the headers without names, and where the checksum is in them: APPNOTE.TXT of PKWARE, sections 4.3.7 to 4.3.12.
_LOCAL, _LOCAL_CHECKSUM = 30, 14
_CENTRAL, _CENTRAL_CHECKSUM = 46, 16
_DESCRIPTOR = b"PK\x07\x08"

# The flag of a record whose checksum follows its values.
_HAS_DESCRIPTOR = 8

_PART = 1 << 20


def _read(file: IO[bytes], place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def values_begin(file: IO[bytes], record: zipfile.ZipInfo) -> int:
    """Return where the values of a record begin in the file."""
    name, extra = struct.unpack("<2H", _read(file, record.header_offset + _LOCAL - 4, 4))
    return record.header_offset + _LOCAL + int(name) + int(extra)


def _checksum(file: IO[bytes], begin: int, size: int) -> int:
    file.seek(begin)
    found = 0
    for done in range(0, size, _PART):
        found = zlib.crc32(file.read(min(_PART, size - done)), found)
    return found


def mend_checksums(path: PathLike) -> None:
    """Write the checksums of an archive again, whose stored values were changed in place; 0 stays, which is none."""
    with zipfile.ZipFile(path) as archive, open(path, "r+b") as file:
        place = archive.start_dir
        for record in archive.infolist():
            central, begin = place, values_begin(file, record)
            place += _CENTRAL + sum(struct.unpack("<3H", _read(file, place + 28, 6)))
            if record.compress_type != zipfile.ZIP_STORED or not record.CRC:
                continue
            found = _checksum(file, begin, record.file_size)
            if found == record.CRC:
                continue
            places = [central + _CENTRAL_CHECKSUM]
            if record.flag_bits & _HAS_DESCRIPTOR:
                end = begin + record.file_size
                places.append(end + 4 * (_read(file, end, 4) == _DESCRIPTOR))
            else:
                places.append(record.header_offset + _LOCAL_CHECKSUM)
            for each in places:
                file.seek(each)
                file.write(struct.pack("<L", found))
