"""Play the model: read the prompt, call tools, report; nothing reasons."""
