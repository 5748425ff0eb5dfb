"""What an earlier version left behind, read by this one; ``recorded/<version>/`` has one recording of each."""
