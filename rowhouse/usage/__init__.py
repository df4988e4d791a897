"""From what the machines did to an invoice that can be proven: observe, ledger, meter, rate, push, close, report.

Instants inside this room are whole milliseconds UTC; nothing here reads this machine's clock.
"""
