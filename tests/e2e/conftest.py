"""The second imitation of the service, and a bench to hold the command against it."""

from tests.imitation.fixtures import bench, command, service, start_service, warm

__all__ = ["bench", "command", "service", "start_service", "warm"]
