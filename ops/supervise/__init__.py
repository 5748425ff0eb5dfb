"""The supervision of one machine: what deedbox up starts, watches and stops."""
