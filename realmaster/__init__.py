"""Lifts recorded sessions to photoreal video: geometry, measures, enhancement, the command line."""

__version__ = "0.1.0"
