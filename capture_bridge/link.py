"""The link's public door: both ends, and the events that the client's end gives."""

from capture_bridge.client_link import (
    DEFAULT_ENDPOINT,
    ClientLink,
    Event,
    FrameReceived,
    MarkReceived,
    PeerEvent,
    PeerFault,
    PluginConnected,
    PluginEnded,
    PluginLost,
    PluginRefused,
    ResultReceived,
)
from capture_bridge.plugin_link import LinkState, PluginLink

__all__ = [
    "DEFAULT_ENDPOINT",
    "ClientLink",
    "Event",
    "FrameReceived",
    "LinkState",
    "MarkReceived",
    "PeerEvent",
    "PeerFault",
    "PluginConnected",
    "PluginEnded",
    "PluginLink",
    "PluginLost",
    "PluginRefused",
    "ResultReceived",
]
