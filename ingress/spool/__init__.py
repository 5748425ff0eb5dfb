"""The spool: callbacks on this host's disk while the broker does not take them."""
