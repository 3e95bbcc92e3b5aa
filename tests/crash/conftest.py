"""The second imitation of the service, and a bench to hold the command against it."""

from tests.imitation.fixtures import bench, service, start_service

__all__ = ["bench", "service", "start_service"]
