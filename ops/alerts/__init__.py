"""Alerts about what the lanes and the sweeper cannot tell, because they may be what failed."""
