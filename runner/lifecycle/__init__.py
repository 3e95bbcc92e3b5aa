"""The life of a job: what an answer makes of it, and which ways lead on. Pure."""
