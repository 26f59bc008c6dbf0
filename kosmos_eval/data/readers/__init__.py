"""Readers of official layouts that several tasks share."""
