"""What `doctor` looks at: this machine, the service, and one job tried for a few credits."""
