"""The broker: addresses, message forms and errors of each transport."""
