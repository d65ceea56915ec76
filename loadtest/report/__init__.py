"""What is made of results: a page, a comparison, a view of the terminal."""
