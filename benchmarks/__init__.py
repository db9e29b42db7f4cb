"""Measurements: ratios of two things in one run, medians of several. Never part of the tests."""
