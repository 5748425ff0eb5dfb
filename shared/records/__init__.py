"""One class for each form that is stored in Redis."""
