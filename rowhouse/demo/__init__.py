"""What `make demo` shows: the whole way on the local cloud, with every promise checked as it is shown."""
