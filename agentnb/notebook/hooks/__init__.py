"""Where the extension hangs itself into the kernel: displays, completion, tracing."""
