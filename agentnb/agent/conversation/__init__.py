"""Hold replies, calls and results as blocks, and the threads of turns that hold them."""
