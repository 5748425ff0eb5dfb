"""Repair: dead letters, redrive, replay, conflicts."""
