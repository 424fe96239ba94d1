"""Hold the JupyterLab extension (`src`, built into `built`) and the kernel's side of it."""
