"""What the commands do, one module each; what they are made of is in `api/manifests/`, `api/plans/`, `api/runs/`."""
