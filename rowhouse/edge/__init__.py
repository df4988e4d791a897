"""The gateway in front of every instance: identity, holds, routing, waking, activity.

Does: decides from a route, a hold and a verified Access token whether a request may pass, and carries it to that instance alone.
Does not: log people in (Cloudflare Access does), end TLS (Cloudflare does), or know anything of plans and money.
"""
