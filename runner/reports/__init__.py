"""What a night came to, to look at and to take away: the report page, and rows for other programs."""
