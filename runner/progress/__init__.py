"""Showing a run: a live view on a terminal, plain lines without one, events for programs."""
