"""The pictures of the dashboard in ``docs/images``: ``make screenshots`` takes them again."""
