"""The local mesh: a real Kubernetes control plane and a real istiod as plain processes.

API server, controllers, scheduler, etcd, istiod and istioctl are the real programs, built from pinned Go modules;
only the kubelets are simulated (kwok). Nothing here knows the product, and the product reads nothing of this: it
sees a kubeconfig. Everything of one mesh lives in one directory, and `down` leaves nothing of it.
"""
