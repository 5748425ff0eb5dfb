"""The demo: the whole pipeline against a simulated Dropbox Sign, with a report."""
