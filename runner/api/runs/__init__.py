"""The parts of a run around its engine: the look before it, its beginning, its end, its sandbox."""
