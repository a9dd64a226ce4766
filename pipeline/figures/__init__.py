"""Figures: matplotlib, and only here. Each function draws one from plain values."""
