"""This machine: clocks, environment, folders and locks, processes."""
