"""What every process needs to run: logs, tracing, gunicorn's options, ports, signals."""
