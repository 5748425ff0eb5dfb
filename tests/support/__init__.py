"""Servers, clients and builders that several suites share."""
