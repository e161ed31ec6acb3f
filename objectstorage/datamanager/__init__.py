"""Transactional documents on object storage, and what a service keeps beside them."""
