"""Redis: the keyspace, connections, scripts, and what lives there."""
