"""Durable bytes: what was received lies here, written once and never changed.

An object is first whole under `incoming/`, data and name synced; once its row is committed it is linked under its
key. A key that exists is never replaced.
"""

from imaging.spool.folder import FolderSpool, Incoming, SpoolFull, room_on

__all__ = ["FolderSpool", "Incoming", "SpoolFull", "room_on"]
