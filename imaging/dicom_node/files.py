"""Part 10 files (PS3.10 7): the head that kept objects get, and the parts of a file that is sent or read."""

from dataclasses import dataclass
from typing import Final

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_partial
from pydicom.filewriter import write_file_meta_info

from imaging import __version__
from imaging.dicom_node.headers import Unreadable
from imaging.domain.header import Header
from imaging.domain.uids import derived_uid

IMPLEMENTATION_CLASS_UID: Final = derived_uid("implementation", "imaging")
IMPLEMENTATION_VERSION_NAME: Final = f"IMAGING_{__version__}"[:16]


@dataclass(frozen=True)
class StoreRequest:
    """An object on its way: the command's UIDs, the transfer syntax, and the data set as it is encoded."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes | memoryview


def part_10_head(header: Header) -> bytes:
    """Preamble and file meta information of an object as it is kept."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = header.sop_class_uid
    meta.MediaStorageSOPInstanceUID = header.sop_instance_uid
    meta.TransferSyntaxUID = header.transfer_syntax_uid
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = DicomBytesIO()
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return bytes(buffer.getvalue())


def split_part_10(data: bytes) -> StoreRequest:
    """A whole file's parts. Raises Unreadable where it is no DICOM file or its head lacks what a command needs."""
    if data[128:132] != b"DICM":
        raise Unreadable("no DICM at offset 128: this is no DICOM file (PS3.10 7.1)")
    buffer = DicomBytesIO(data)
    try:
        file_meta = read_partial(buffer, stop_when=lambda *_: True).file_meta
        said = [
            str(file_meta[keyword].value or "")
            for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
        ]
    except Exception as error:
        raise Unreadable(f"the file meta information cannot be read ({type(error).__name__})") from error
    return StoreRequest(said[0], said[1], said[2], memoryview(data)[buffer.tell() :])
