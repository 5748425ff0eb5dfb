"""What the commands for developers do: one callback by hand, and the files of a new project."""
