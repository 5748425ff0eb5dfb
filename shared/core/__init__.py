"""The rules of Deedbox, pure: no clock, no I/O, no framework. Time and randomness come in as arguments."""
