{{/* Parts that the jobs share. Each takes dict root, name (of the job), job (its values). */}}

{{/* The beginning of a job. configName is the name in the config where it differs. */}}
{{- define "torchbearer.jobHead" -}}
- job_name: {{ .configName | default .name }}
  {{- with .job.interval }}
  scrape_interval: {{ . }}
  {{- end }}
  {{- with .job.timeout }}
  scrape_timeout: {{ . }}
  {{- end }}
  label_limit: 63
  label_name_length_limit: 511
  label_value_length_limit: 1023
  {{- with .job.sampleLimit }}
  sample_limit: {{ int64 . }}
  {{- end }}
  {{- with .job.bodySizeLimit }}
  body_size_limit: {{ . }}
  {{- end }}
  # A target cannot send the agent elsewhere.
  follow_redirects: false
{{- end -}}

{{/* The end of a job: the rules that a user adds, and what is kept of its metrics. */}}
{{- define "torchbearer.jobTail" -}}
{{- with .job.relabelings }}
{{- toYaml . | nindent 2 }}
{{- end }}
{{- $list := "" -}}
{{- if eq .root.Values.metricsProfile "minimal" -}}
{{- $list = .root.Files.Get (printf "files/keep/%s.txt" (.keepList | default .name)) | trim | replace "\n" "|" -}}
{{- end -}}
{{- $keep := compact (list (.job.keepMetrics | default "") $list) | join "|" -}}
{{- if or $keep .job.metricRelabelings }}
  metric_relabel_configs:
  {{- with $keep }}
  - source_labels: [__name__]
    regex: {{ . | quote }}
    action: keep
  {{- end }}
  {{- with .job.metricRelabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* All jobs for pods of the own node have this very discovery, so that they share one watch. */}}
{{- define "torchbearer.podDiscovery" }}
  kubernetes_sd_configs:
  - role: pod
  relabel_configs:
{{- end -}}
{{- define "torchbearer.nodeDiscovery" }}
  kubernetes_sd_configs:
  - role: node
  relabel_configs:
{{- end -}}

{{/* Pods that do not run have nothing to show. */}}
{{- define "torchbearer.runningPods" }}
  - source_labels: [__meta_kubernetes_pod_phase]
    regex: Pending|Succeeded|Failed
    action: drop
{{- end -}}

{{- define "torchbearer.podLabels" }}
  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
{{- end -}}

{{/* The port of a job on the pod's IP, whatever ports the pod declares: all its targets become one. */}}
{{- define "torchbearer.podAddress" }}
  - source_labels: [__meta_kubernetes_pod_ip]
    regex: '([^:]+)'
    replacement: ${1}:{{ int .job.port }}
    target_label: __address__
  - source_labels: [__meta_kubernetes_pod_ip]
    regex: '(.*:.*)'
    replacement: '[${1}]:{{ int .job.port }}'
    target_label: __address__
{{- end -}}

{{/* The same for the IP of a node. */}}
{{- define "torchbearer.nodeAddress" }}
  - source_labels: [__meta_kubernetes_node_address_InternalIP]
    regex: '([^:]+)'
    replacement: ${1}:{{ int .job.port }}
    target_label: __address__
  - source_labels: [__meta_kubernetes_node_address_InternalIP]
    regex: '(.*:.*)'
    replacement: '[${1}]:{{ int .job.port }}'
    target_label: __address__
{{- end -}}

{{/* instance is the node's name, as Azure's dashboards expect it. */}}
{{- define "torchbearer.nodeLabels" }}
  - {source_labels: [__meta_kubernetes_node_name], target_label: instance}
  - {source_labels: [__meta_kubernetes_node_name], target_label: node}
{{- end -}}

{{- define "torchbearer.windowsDiscovery" }}
  kubernetes_sd_configs:
  - role: node
    selectors:
    - {role: node, label: kubernetes.io/os=windows}
  relabel_configs:
{{- end -}}
