"""The same work done with other tools; each is a program of its own, looked at from outside."""
