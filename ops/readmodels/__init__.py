"""Read models: what pages and commands show, read in a few bounded round trips and never changed by reading."""
