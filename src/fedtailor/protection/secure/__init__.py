"""Secure aggregation."""

from .settings import SecureAggregation

__all__ = ["SecureAggregation"]
