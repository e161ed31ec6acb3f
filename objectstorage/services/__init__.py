"""Services over any store, on Starlette: what the `[services]` extra brings.

wire     errors as replies, and the application that makes them
logs     routes that serve and follow logs
caches   routes that save and restore caches
"""
