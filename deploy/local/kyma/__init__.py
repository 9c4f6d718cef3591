"""A stand-in for Kyma's module management, for a mesh without Kyma.

It plays two programs that a real Kyma cluster has: the lifecycle-manager, which turns a channel of the Kyma CR into
a version of the Istio module, and the module's own operator, which installs that version's Istio and then restarts
sidecars. Like them it acts only through the Kubernetes API: whoever talks to the cluster cannot see more, or
less, of an upgrade than on a real one. Sources named in docstrings: KLM is kyma-project/lifecycle-manager, KI is
kyma-project/istio.
"""
