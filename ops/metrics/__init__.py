"""The state of an installation in Prometheus's form: read at each scrape, never changed by it."""
