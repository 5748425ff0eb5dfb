"""Deterministic simulation of the worker side: real code, one in-memory Redis, a scheduler that a seed decides.

``python -m tests.simulation --seed N --trace`` replays one schedule exactly.
"""
