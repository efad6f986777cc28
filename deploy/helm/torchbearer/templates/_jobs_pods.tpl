{{/*
Pods with annotations. Whoever may create a pod writes them, so the address is the pod's IP and nothing else, no
credentials go with the request, and what is not as it should be is dropped: it shows among the dropped targets.
*/}}
{{- define "torchbearer.job.kubernetes-pods" -}}
{{- $annotation := printf "__meta_kubernetes_pod_annotation_%s" (regexReplaceAll "[^a-zA-Z0-9_]" .job.annotationPrefix "_") -}}
{{- include "torchbearer.jobHead" . }}
  tls_config: {insecure_skip_verify: {{ .job.insecureSkipVerify }}}
  {{- include "torchbearer.podDiscovery" . }}
  - source_labels: [{{ $annotation }}_scrape]
    regex: "true"
    action: keep
  {{- include "torchbearer.runningPods" . }}
  {{- with .job.namespaces }}
  - source_labels: [__meta_kubernetes_namespace]
    regex: {{ join "|" . }}
    action: keep
  {{- end }}
  {{- with .job.excludedNamespaces }}
  - source_labels: [__meta_kubernetes_namespace]
    regex: {{ join "|" . }}
    action: drop
  {{- end }}
  # No pod has such an address: these are the metadata services of clouds.
  - source_labels: [__meta_kubernetes_pod_ip]
    regex: '169\.254\..*|168\.63\.129\.16|100\.100\.100\.200|[fF][eE][89aAbB].:.*|fd00:ec2:.*|'
    action: drop
  - source_labels: [{{ $annotation }}_scheme]
    regex: (https?)?
    action: keep
  - source_labels: [{{ $annotation }}_scheme]
    regex: (https?)
    target_label: __scheme__
  - source_labels: [{{ $annotation }}_path]
    regex: .*\.\..*
    action: drop
  - source_labels: [{{ $annotation }}_path]
    regex: '(/[-A-Za-z0-9._~!$&()*+,;=:@/]{0,500})?'
    action: keep
  - source_labels: [{{ $annotation }}_path]
    regex: (.+)
    target_label: __metrics_path__
  # A port by annotation is 1 to 65535. Without it, each TCP port that the pod declares is scraped.
  - source_labels: [{{ $annotation }}_port]
    regex: ([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])?
    action: keep
  - source_labels:
    - {{ $annotation }}_port
    - __meta_kubernetes_pod_container_port_number
    - __meta_kubernetes_pod_container_port_protocol
    - __meta_kubernetes_pod_container_init
    regex: '[0-9]+;.*|;[0-9]+;TCP;false'
    action: keep
  - source_labels: [__meta_kubernetes_pod_ip, {{ $annotation }}_port]
    regex: '([^:;]+);([0-9]+)'
    replacement: ${1}:${2}
    target_label: __address__
  - source_labels: [__meta_kubernetes_pod_ip, {{ $annotation }}_port]
    regex: '([^;]*:[^;]*);([0-9]+)'
    replacement: '[${1}]:${2}'
    target_label: __address__
  # With the annotation all containers of a pod are one target, so that it has no container.
  - source_labels: [{{ $annotation }}_port, __meta_kubernetes_pod_container_name]
    regex: ;(.+)
    target_label: container
  {{- range .job.podLabels }}
  {{- $name := regexReplaceAll "[^a-zA-Z0-9_]" . "_" }}
  - source_labels: [__meta_kubernetes_pod_label_{{ $name }}]
    regex: (.+)
    target_label: {{ $name }}
  {{- end }}
  {{- include "torchbearer.podLabels" . }}
  {{- include "torchbearer.jobTail" . }}
{{- end -}}

{{- define "torchbearer.job.node" -}}
{{- include "torchbearer.jobHead" . }}
  {{- if eq .job.discovery "nodes" }}
  {{- include "torchbearer.nodeDiscovery" . }}
  {{- include "torchbearer.nodeAddress" . }}
  {{- include "torchbearer.nodeLabels" . }}
  {{- else }}
  {{- include "torchbearer.podDiscovery" . }}
  - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name, __meta_kubernetes_pod_label_app]
    regex: (prometheus-)?node-exporter;.*|.*;(prometheus-)?node-exporter
    action: keep
  {{- if .job.hostNetworkOnly }}
  # Any pod may have that label, but only one that is trusted the network of its node.
  - source_labels: [__meta_kubernetes_pod_ip]
    target_label: __meta_kubernetes_pod_host_ip
    action: keepequal
  {{- end }}
  {{- include "torchbearer.runningPods" . }}
  {{- include "torchbearer.podAddress" . }}
  - {source_labels: [__meta_kubernetes_pod_node_name], target_label: instance}
  - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
  {{- end }}
  {{- include "torchbearer.jobTail" . }}
{{- end -}}

{{- define "torchbearer.job.kube-dns" -}}
{{- include "torchbearer.jobHead" . }}
  {{- include "torchbearer.podDiscovery" . }}
  - source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_label_k8s_app]
    regex: kube-system;kube-dns
    action: keep
  {{- include "torchbearer.runningPods" . }}
  {{- include "torchbearer.podAddress" . }}
  {{- include "torchbearer.podLabels" . }}
  {{- include "torchbearer.jobTail" . }}
{{- end -}}

{{- define "torchbearer.job.kube-proxy" -}}
{{- include "torchbearer.jobHead" . }}
  {{- include "torchbearer.podDiscovery" . }}
  - source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_name]
    regex: kube-system;kube-proxy-.+
    action: keep
  {{- include "torchbearer.runningPods" . }}
  {{- include "torchbearer.podAddress" . }}
  {{- include "torchbearer.podLabels" . }}
  {{- include "torchbearer.jobTail" . }}
{{- end -}}

{{- define "torchbearer.job.torchbearer" -}}
{{- include "torchbearer.jobHead" . }}
  {{- if .root.Values.web.tls.secretName }}
  scheme: https
  # The certificate is for a name, not for the pod's IP.
  tls_config: {insecure_skip_verify: true}
  {{- end }}
  {{- include "torchbearer.podDiscovery" . }}
  - source_labels:
    - __meta_kubernetes_namespace
    - __meta_kubernetes_pod_label_app_kubernetes_io_name
    - __meta_kubernetes_pod_label_app_kubernetes_io_instance
    regex: {{ include "torchbearer.namespace" .root }};{{ include "torchbearer.name" .root }};{{ .root.Release.Name | replace "." "\\." }}
    action: keep
  {{- include "torchbearer.runningPods" . }}
  {{- include "torchbearer.podAddress" (dict "job" (dict "port" .root.Values.web.port)) }}
  {{- include "torchbearer.podLabels" . }}
  {{- include "torchbearer.jobTail" . }}
{{- end -}}
