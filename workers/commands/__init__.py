"""Commands that need the API: they run in a process of their own, started by the command line."""
