"""The web process: verifies callbacks, hands them to the broker, and only then acknowledges them."""
