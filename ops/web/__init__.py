"""The process ``ops``: dashboard, status API and metrics, on a port of its own that is never the public one."""
