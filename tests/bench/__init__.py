"""`make bench`: one table of what runs cost, measured from outside."""
