"""The servers that deliver the same messages beside Riptide's, and how each is set up."""
