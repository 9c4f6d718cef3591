"""What the image of an injection template depends on: the careful answer wherever it is not certain."""

import pytest

from mesh.istio.injection_template import image_is_common

PLAIN = """
{{ $native := ne (index .ObjectMeta.Annotations `sidecar.istio.io/nativeSidecar` | default "x") "false" }}
{{- range $index, $container := .Spec.Containers }}{{ $names = append $names $container.Name }}{{- end }}
metadata:
  labels: {app: {{ index .ObjectMeta.Labels `app` | default .DeploymentMeta.Name }}}
spec:
  {{ if not $native }}
  containers:
  {{ end }}
  - name: istio-proxy
    {{- if contains "/" (annotation .ObjectMeta `sidecar.istio.io/proxyImage` .Values.global.proxy.image) }}
    image: "{{ annotation .ObjectMeta `sidecar.istio.io/proxyImage` .Values.global.proxy.image }}"
    {{- else }}
    image: "{{ .ProxyImage }}"
    {{- end }}
    args: [{{ .Spec.ServiceAccountName }}]
"""


def test_image_of_istios_own_kind_of_template_is_common() -> None:
    assert image_is_common(PLAIN)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param('image: "{{ index .ObjectMeta.Labels `app` }}"', id="label"),
        pytest.param('image: "hub/{{ .DeploymentMeta.Name }}:1"', id="name"),
        pytest.param('image: "{{ .ObjectMeta.Namespace }}"', id="namespace"),
        pytest.param('image: "{{ index .ObjectMeta.Annotations `example.com/proxy` }}"', id="foreign-annotation"),
        pytest.param('image: "{{ annotation .ObjectMeta `example.com/proxy` .ProxyImage }}"', id="foreign-default"),
        pytest.param('{{ with index .ObjectMeta.Labels "x" }}\n    image: "{{ . }}"\n    {{ end }}', id="block"),
        pytest.param(
            "{{ if eq 1 2 }}\n    image: a\n    {{ else if .Spec.HostUsers }}\n    image: b\n    {{ end }}", id="branch"
        ),
        pytest.param('{{ $x := .Spec.NodeName }}{{ $y := $x }}\n    image: "{{ $y }}"', id="variable"),
        pytest.param(
            '{{ $x := "a" }}{{ if .Spec.NodeName }}{{ $x = "b" }}{{ end }}\n    image: "{{ $x }}"',
            id="variable-in-block",
        ),
        pytest.param('{{ define "proxy" }}\n    image: busybox\n    {{ end }}', id="definition"),
    ],
)
def test_image_that_may_depend_on_the_pod_is_not_common(image: str) -> None:
    assert not image_is_common(PLAIN.replace('image: "{{ .ProxyImage }}"', image))


@pytest.mark.parametrize("text", ["", "{{", "{{ end }}{{ end }}", "image: fixed", "{{ else }} image: x {{ end"])
def test_text_that_is_no_template_is_read_without_harm(text: str) -> None:
    assert image_is_common(text)
