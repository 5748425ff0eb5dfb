"""Several hosts on one machine: network namespaces on a virtual switch, cut off, silenced and killed."""
