"""What a job is thought to cost, and whether one more payment fits under the caps. Pure."""
