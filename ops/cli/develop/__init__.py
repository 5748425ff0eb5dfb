"""Commands for the developer of actions: none of them is needed where Deedbox runs."""
