"""Comparison of JSON Schemas: whether a changed one refuses more, or accepts more.

comparison  the rule of each keyword
context     keywords that change the effect of others elsewhere in a schema
"""
