"""What `benches/run` is made of: the tools, the data, the measuring and the table."""
