"""What people start and look at: the command line, the supervision of one machine, read models."""
