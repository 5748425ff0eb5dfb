"""The process ``ops``: dashboard, status API and metrics, on a separate port that is never the public one."""
