"""The remediation queue's rules: items, what a recheck tells them, advice for each reason.

Decides from findings and surveys only; opens, warns and sends nothing.
"""
