"""An imitation of the Rivya AI Public API v1 on loopback, with faults on request.

It stands beside the runner: it imports nothing of it, checks requests with its own code, and keeps
its own ledger of what it really charged. README.md in this folder lists flags, endpoints and faults.
"""
