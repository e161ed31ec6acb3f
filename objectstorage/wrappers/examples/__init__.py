"""Hooks of `ObservedStorage` for well-known systems; each module runs by itself."""
