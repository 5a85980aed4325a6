"""Incidents: a running production with one hidden fault, the evidence it leaves, and a proof of its mend (lab 10)."""
