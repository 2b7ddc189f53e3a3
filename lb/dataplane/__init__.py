"""The data plane: its interface for the control plane, and the implementation within one process."""
