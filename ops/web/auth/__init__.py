"""Who may read and change what on the ops pages."""
