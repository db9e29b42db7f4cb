"""Every error that RealMaster raises for a user or a peer.

    RealMasterError           one line: what, where, which limit, the cure
    ├── ProtocolError         a peer or a file broke PROTOCOL.md
    │   ├── VersionError      another major version; names both
    │   └── LimitError        a length, count or size over its limit
    ├── LinkError             the connection: port taken, peer dead, off loopback without keys
    ├── SessionError          a session file: missing, foreign, truncated, newer
    │   └── MissingBufferError  a step needs a buffer that the session does not have
    ├── OutputError           an output exists, cannot be written, or the disk is full
    └── SetupError            something is not installed, no screen, no GPU, no weights

The command line prints the message of a RealMasterError and exits with 1; anything else is a bug of
ours. This file knows nothing of the rest of the project.
"""


class RealMasterError(Exception):
    """Base of all errors meant for people: one line that says what, where, limit and cure."""


class ProtocolError(RealMasterError):
    """A peer or a file broke the rules of PROTOCOL.md."""


class VersionError(ProtocolError):
    """The other side speaks another major version."""


class LimitError(ProtocolError):
    """A length, count or size lies over its limit."""


class LinkError(RealMasterError):
    """The connection between plugin and client cannot be made or has ended."""


class SessionError(RealMasterError):
    """A session file cannot be read as what it claims to be."""


class MissingBufferError(SessionError):
    """A step needs a buffer that this session does not hold."""


class OutputError(RealMasterError):
    """An output exists already, cannot be written, or does not fit on the disk."""


class SetupError(RealMasterError):
    """Something outside the project is missing: a package, a library, a screen, weights."""
