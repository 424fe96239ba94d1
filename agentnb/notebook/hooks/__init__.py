"""Hang the extension into the kernel: displays, completion, tracing."""
