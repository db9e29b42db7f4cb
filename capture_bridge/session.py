"""The door to session files: one .mcap per recording (PROTOCOL.md, "Session file").

Everything that reads or writes sessions imports from here.
"""

from capture_bridge.session_format import (
    SCHEMA_VERSION,
    Drop,
    DropStage,
    SessionCodec,
    SessionInfo,
    SessionMark,
)
from capture_bridge.session_reader import SessionFrame, SessionReader
from capture_bridge.session_writer import SessionWriter

__all__ = [
    "SCHEMA_VERSION",
    "Drop",
    "DropStage",
    "SessionCodec",
    "SessionFrame",
    "SessionInfo",
    "SessionMark",
    "SessionReader",
    "SessionWriter",
]
