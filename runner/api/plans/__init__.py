"""What a plan finds beside the rows: on the disk, beside the database, in other manifests."""
