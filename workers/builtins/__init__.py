"""The actions that come with Deedbox, and what only they need."""
