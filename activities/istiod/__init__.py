"""Questions to istiod itself: what its injector makes of a Pod, and which proxies are connected to it.

Sends no credentials of the API server, changes nothing, and takes an istiod that cannot be reached for an answer.
"""
