"""A service on Litestar."""
