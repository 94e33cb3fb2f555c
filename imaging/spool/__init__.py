"""Durable bytes: what was received, and the results that are sent, lie here, written once and never changed.

What is received is first whole under `incoming/`, data and name synced; once its row is committed it is linked under
its key. A key that exists is never replaced. Results lie under `out/`, each named by its digest.
"""

from imaging.spool.files import SpoolFull
from imaging.spool.folder import FolderSpool, Incoming, disk_space_on
from imaging.spool.protocol import Spool, Stored

__all__ = ["FolderSpool", "Incoming", "Spool", "SpoolFull", "Stored", "disk_space_on"]
