"""Take secrets out of text, before anything is hashed, sent or journaled."""
