"""The simulated model: it reads the prompt, calls tools and reports; nothing reasons."""
