"""The dialect of the Rivya AI Public API v1: every fact of it, and nothing of it anywhere else."""
