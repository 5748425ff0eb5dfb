"""A seeded Dropbox Sign on the loopback: signature requests, their callbacks on the wire, and the files API.

A tool for development and tests; production processes never import it.
"""
