"""The service and the way to it: requests, answers, addresses, proxies, TLS."""
