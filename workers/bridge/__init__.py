"""The bridge: moves raw callbacks from the broker into the inbox, and decides nothing."""
