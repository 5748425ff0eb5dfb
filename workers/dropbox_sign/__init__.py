"""The Dropbox Sign API: its client, its accounts and their budgets."""
