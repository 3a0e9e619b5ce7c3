"""The systems that are measured: how each is started, loaded and asked."""
