{{/* kubelet and cadvisor: one job, or two where only some kubelets have a certificate that can be verified. */}}
{{- define "torchbearer.kubeletJobs" -}}
{{- $verify := .root.Values.kubelet.tls.insecureSkipVerify | toString -}}
{{- if eq $verify "auto" -}}
{{- include "torchbearer.kubeletJob" (merge (dict "unsigned" "drop" "skip" false) .) }}
{{ include "torchbearer.kubeletJob" (merge (dict "unsigned" "keep" "skip" true "configName" (printf "%s-unverified" .name)) .) }}
{{- else -}}
{{- include "torchbearer.kubeletJob" (merge (dict "unsigned" "" "skip" (eq $verify "true")) .) }}
{{- end -}}
{{- end -}}

{{- define "torchbearer.kubeletJob" -}}
{{- include "torchbearer.jobHead" . }}
  scheme: https
  {{- if ne .path "/metrics" }}
  metrics_path: {{ .path }}
  {{- end }}
  {{- if hasSuffix "/cadvisor" .path }}
  # cadvisor says when it measured: without this its series would outlive their containers by five minutes.
  track_timestamps_staleness: true
  {{- end }}
  authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
  {{- if .skip }}
  tls_config: {insecure_skip_verify: true}
  {{- else }}
  tls_config: {ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}
  {{- end }}
  {{- if .windows }}
  {{- include "torchbearer.windowsDiscovery" . }}
  {{- else }}
  {{- include "torchbearer.nodeDiscovery" . }}
  {{- end }}
  {{- with .unsigned }}
  # Nodes of AKS whose kubelets sign their own certificates.
  - source_labels:
    - __meta_kubernetes_node_label_kubernetes_azure_com_cluster
    - __meta_kubernetes_node_label_kubernetes_azure_com_kubelet_serving_ca
    regex: .+;(self)?
    action: {{ . }}
  {{- end }}
  {{- include "torchbearer.nodeLabels" . }}
  {{- if ne (.configName | default .name) .label }}
  - {target_label: job, replacement: {{ .label }}}
  {{- end }}
  - {source_labels: [__metrics_path__], target_label: metrics_path}
  - {source_labels: [__meta_kubernetes_node_label_kubernetes_io_os], target_label: kubernetes_io_os}
  {{- include "torchbearer.jobTail" (merge (dict "keepList" .label) .) }}
{{- end -}}

{{- define "torchbearer.job.kubelet" -}}
{{- include "torchbearer.kubeletJobs" (merge (dict "path" "/metrics" "label" "kubelet") .) -}}
{{- end -}}
{{- define "torchbearer.job.cadvisor" -}}
{{- include "torchbearer.kubeletJobs" (merge (dict "path" "/metrics/cadvisor" "label" "cadvisor") .) -}}
{{- end -}}
{{- define "torchbearer.job.kubelet-windows" -}}
{{- include "torchbearer.kubeletJobs" (merge (dict "path" "/metrics" "label" "kubelet" "windows" true) .) -}}
{{- end -}}
{{- define "torchbearer.job.cadvisor-windows" -}}
{{- include "torchbearer.kubeletJobs" (merge (dict "path" "/metrics/cadvisor" "label" "cadvisor" "windows" true) .) -}}
{{- end -}}
