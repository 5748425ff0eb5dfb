"""Commands that need the API: each runs in its own process, started by the command line."""
