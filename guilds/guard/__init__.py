"""What a view about a server can require, and the one function that decides who may access it."""
