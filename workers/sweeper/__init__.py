"""The sweeper: wakes what is due, such as retries, expired holds and abandoned leases."""
