"""The state database: every line of SQL of the runner is in this package."""
