{{/*
What the agent must be allowed to watch, as YAML: {<namespace>: {<resource>: true}}, "*" for all namespaces. Found from
the discovery of the enabled jobs, those that a user wrote included.
*/}}
{{- define "torchbearer.needs" -}}
{{- $needs := dict "*" dict -}}
{{- $jobs := .Values.jobs -}}
{{- range $name := list "kubernetes-pods" "kube-dns" "kube-proxy" "torchbearer" -}}
{{- if (get $jobs $name).enabled }}{{ $_ := set (get $needs "*") "pods" true }}{{ end -}}
{{- end -}}
{{- if $jobs.node.enabled }}{{ $_ := set (get $needs "*") (ternary "nodes" "pods" (eq $jobs.node.discovery "nodes")) true }}{{ end -}}
{{- range $name := list "kubelet" "cadvisor" "kubelet-windows" "cadvisor-windows" "windows-exporter" "kube-proxy-windows" -}}
{{- if (get $jobs $name).enabled }}{{ $_ := set (get $needs "*") "nodes" true }}{{ end -}}
{{- end -}}
{{- $sds := list -}}
{{- with get $jobs "kube-state-metrics" -}}
{{- if .enabled }}{{ $sds = append $sds (dict "role" "pod" "namespaces" (dict "names" .namespaces)) }}{{ end -}}
{{- end -}}
{{- if (get $jobs "kube-apiserver").enabled -}}
{{- $sds = append $sds (dict "role" "endpointslice" "namespaces" (dict "names" (list "default"))) -}}
{{- end -}}
{{- range (include "torchbearer.userJobs" . | fromYaml).list -}}
{{- $sds = concat $sds (.kubernetes_sd_configs | default list) -}}
{{- end -}}
{{- range $sds -}}
{{- if not (or .api_server .kubeconfig_file) -}}
{{- include "torchbearer.need" (dict "needs" $needs "sd" . "own" (include "torchbearer.namespace" $)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $needs -}}
{{- end -}}

{{/* Adds what one kubernetes_sd_config needs. dict needs, sd, own (the release's namespace). */}}
{{- define "torchbearer.need" -}}
{{- $needs := .needs -}}
{{- $byRole := dict
  "pod" (list "pods") "node" (list "nodes") "service" (list "services") "ingress" (list "ingresses")
  "endpoints" (list "endpoints" "services" "pods") "endpointslice" (list "endpointslices" "services" "pods") -}}
{{- $resources := get $byRole .sd.role | default list -}}
{{- $where := (.sd.namespaces | default dict).names | default list -}}
{{- if (.sd.namespaces | default dict).own_namespace }}{{ $where = append $where .own }}{{ end -}}
{{- if or (not $where) (eq .sd.role "node") }}{{ $where = list "*" }}{{ end -}}
{{- $attach := .sd.attach_metadata | default dict -}}
{{- if $attach.deployment }}{{ $resources = append $resources "replicasets" }}{{ end -}}
{{- if or $attach.job $attach.cronjob }}{{ $resources = append $resources "jobs" }}{{ end -}}
{{- range $where -}}
{{- if not (hasKey $needs .) }}{{ $_ := set $needs . dict }}{{ end -}}
{{- $at := get $needs . -}}
{{- range $resources }}{{ $_ := set $at . true }}{{ end -}}
{{- end -}}
{{- if $attach.node }}{{ $_ := set (get $needs "*") "nodes" true }}{{ end -}}
{{- if $attach.namespace }}{{ $_ := set (get $needs "*") "namespaces" true }}{{ end -}}
{{- end -}}

{{/* The rules for a set of resources. */}}
{{- define "torchbearer.watchRules" -}}
{{- $groups := dict "endpointslices" "discovery.k8s.io" "ingresses" "networking.k8s.io" "replicasets" "apps" "jobs" "batch" -}}
{{- $core := list -}}
{{- range $resource, $_ := . -}}
{{- if not (hasKey $groups $resource) }}{{ $core = append $core $resource }}{{ end -}}
{{- end -}}
{{- with $core }}
- apiGroups: [""]
  resources: {{ sortAlpha . | toJson }}
  verbs: [list, watch]
{{- end -}}
{{- range $resource, $_ := . -}}
{{- if hasKey $groups $resource }}
- apiGroups: [{{ get $groups $resource }}]
  resources: [{{ $resource }}]
  verbs: [list, watch]
{{- end -}}
{{- end -}}
{{- end -}}
