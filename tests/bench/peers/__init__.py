"""What a team would write today: Flask and a job queue, each as its own documentation shows it."""
