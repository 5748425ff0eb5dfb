"""Alerts: their conditions, their grouping, their text and their targets."""
