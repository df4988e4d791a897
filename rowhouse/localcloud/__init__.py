"""Loopback stand-ins of the vendors, with real processes behind them and one virtual clock.

They keep state, refuse what the vendor would refuse and can be told to misbehave. They share no code with the
rest of Rowhouse, so that a mistake there cannot hide behind the same mistake here.
"""
