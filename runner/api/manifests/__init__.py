"""What a manifest brings to a command: its head and jobs, its prices, its urls, the rows it had before."""
