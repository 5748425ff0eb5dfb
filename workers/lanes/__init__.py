"""Lanes: pools of worker processes that call the actions."""
