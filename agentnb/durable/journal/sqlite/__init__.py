"""Keep the embedded journal, in diskcache's SQLite file or in memory."""
