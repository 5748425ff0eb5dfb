"""What two or more of ingress, workers and ops need: the pure core, settings, the Redis keyspace, the stores."""
