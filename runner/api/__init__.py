"""What the commands do, one module each; what they are made of is in the folders below (`api/runs/`, `api/checks/`, …)."""
