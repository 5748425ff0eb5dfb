"""Publish: an accepted callback goes to the broker, within bounds, and the answer waits for it."""
