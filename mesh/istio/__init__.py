"""What Istio decides: versions and skew, injection, the proxy that a Pod would get, the proxies that are connected.

Says what is, never what is done about it.
"""
