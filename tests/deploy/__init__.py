"""What runs Deedbox elsewhere, started or validated by the tools that read it."""
