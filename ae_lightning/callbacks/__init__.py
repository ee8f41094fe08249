"""Callbacks: one concern each, and `schedule`, which says when they act."""
