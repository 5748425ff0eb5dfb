"""What a web process reports about itself: counters, readiness, metrics."""
