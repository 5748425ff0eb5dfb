"""Commands that change something: dead letters, replays, pauses, erasures, spools, and what the API has."""
