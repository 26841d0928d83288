"""What is spent of differential privacy, and the secret draws that it rests on."""

from .budget import FILE as BUDGET_FILE
from .budget import Budget, RunBudget, Spending
from .reported import ReportedBudget

__all__ = ["BUDGET_FILE", "Budget", "ReportedBudget", "RunBudget", "Spending"]
