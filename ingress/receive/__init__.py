"""Receive: from the bytes of a request to a verdict and an answer."""
