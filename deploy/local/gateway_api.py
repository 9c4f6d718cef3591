"""The Gateway API on a mesh: its custom resources. Gateways of class `istio` are istiod's work."""

from __future__ import annotations

from deploy.local.binaries import GATEWAY_API, GATEWAY_API_VERSION, ensure
from deploy.local.custom_resources import install
from deploy.local.mesh import Mesh
from deploy.local.progress import say


def install_gateway_api(mesh: Mesh) -> None:
    """Installs the custom resources; istiod sees them by itself."""
    install(mesh, ensure([GATEWAY_API]).files)
    mesh.change_state(versions=mesh.state.versions | {"gatewayApi": GATEWAY_API_VERSION})
    say(f"Gateway API {GATEWAY_API_VERSION} is installed")
