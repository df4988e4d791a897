"""What a pull request changes: the tenants it touches, their infrastructure, what that costs us and what it costs customers.

Does: select, render, compare, price, judge, and say it in one comment. Does not: apply anything or speak to a vendor; nothing here needs a
credential, and no code of a change runs here, only its data.
"""
