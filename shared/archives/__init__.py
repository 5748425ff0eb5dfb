"""Archives: what Redis holds about a quiet stream, packed into one value. Whatever comes later restores it first."""
