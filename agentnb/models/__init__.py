"""Hold facts about models, and our words for what passes between the kernel and one."""
