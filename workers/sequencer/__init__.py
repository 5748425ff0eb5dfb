"""The sequencer: removes duplicates, restores the order of each key, and releases events to the lanes."""
