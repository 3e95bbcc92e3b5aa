"""What the commands do, one module each: the command line parses, calls one of these, and prints."""
