"""Result files: fetched from whatever hosts the service names, kept whole, named, and described beside."""
