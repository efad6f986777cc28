{{/* Jobs of the whole cluster: one agent has them. */}}

{{/*
Found by its pods, not by its endpoints: one watch on a handful of pods in place of three. What it exposes has labels
namespace, pod and node of its own, so the target gets none.
*/}}
{{- define "torchbearer.job.kube-state-metrics" -}}
{{- /* Looked for in all namespaces, it may be any pod with that label, which is not trusted with a large answer. */ -}}
{{- $limit := .job.bodySizeLimit | default (ternary "64MiB" "" (not (empty .job.namespaces))) -}}
{{- include "torchbearer.jobHead" (merge (dict "job" (merge (dict "bodySizeLimit" $limit) .job)) .) }}
  kubernetes_sd_configs:
  - role: pod
    {{- with .job.namespaces }}
    namespaces:
      names: {{ toJson . }}
    {{- end }}
    selectors:
    - role: pod
      label: {{ .job.labelSelector | quote }}
  relabel_configs:
  {{- include "torchbearer.runningPods" . }}
  {{- include "torchbearer.podAddress" . }}
  {{- include "torchbearer.jobTail" . }}
{{- end -}}

{{- define "torchbearer.job.kube-apiserver" -}}
{{- include "torchbearer.jobHead" . }}
  scheme: https
  authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
  tls_config:
    ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    server_name: {{ .job.serverName }}
  kubernetes_sd_configs:
  - role: endpointslice
    namespaces:
      names: [default]
    selectors:
    - {role: endpointslice, label: kubernetes.io/service-name=kubernetes}
    - {role: service, field: metadata.name=kubernetes}
    # It is no pod of the cluster, and no other pod is of interest.
    - {role: pod, field: metadata.name=kubernetes}
  relabel_configs:
  - source_labels: [__meta_kubernetes_endpointslice_port_name]
    regex: https
    action: keep
  {{- include "torchbearer.jobTail" . }}
{{- end -}}

{{- define "torchbearer.windowsJob" -}}
{{- include "torchbearer.jobHead" . }}
  {{- include "torchbearer.windowsDiscovery" . }}
  {{- include "torchbearer.nodeAddress" . }}
  {{- include "torchbearer.nodeLabels" . }}
  {{- include "torchbearer.jobTail" . }}
{{- end -}}
{{- define "torchbearer.job.windows-exporter" -}}{{ include "torchbearer.windowsJob" . }}{{- end -}}
{{- define "torchbearer.job.kube-proxy-windows" -}}{{ include "torchbearer.windowsJob" . }}{{- end -}}
