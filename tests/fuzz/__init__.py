"""Hostile input: laws that hold for any bytes, driven by hypothesis in the tests and by atheris on demand."""
