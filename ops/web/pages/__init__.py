"""The pages of the dashboard: one module for each, and how they say things."""
