"""Ask models on this machine: weights that are fetched and kept, llama.cpp's server, and how it is asked."""
