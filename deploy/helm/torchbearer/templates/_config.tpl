{{/* The agent's config. dict root, refs: a dict that is filled with the Secrets that it needs. */}}
{{- define "torchbearer.config" -}}
{{- $root := .root -}}
{{- $global := include "torchbearer.global" $root | fromYaml -}}
global:
  scrape_interval: {{ $global.scrape_interval | default $root.Values.scrapeInterval }}
  {{- with $global.scrape_timeout | default $root.Values.scrapeTimeout }}
  scrape_timeout: {{ . }}
  {{- end }}
  {{- with omit $global "scrape_interval" "scrape_timeout" "evaluation_interval" "external_labels" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  external_labels:
    {{- include "torchbearer.externalLabels" $root | trim | nindent 4 }}
{{- $scopes := include "torchbearer.scopes" $root | fromYaml }}
{{- if or $scopes $root.Values.trustedLabelJobs $root.Values.limits }}
agent:
  {{- with $root.Values.trustedLabelJobs }}
  trusted_label_jobs: {{ toJson . }}
  {{- end }}
  {{- with $root.Values.limits }}
  limits: {{ toJson . }}
  {{- end }}
  {{- with $scopes }}
  scopes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- $scrapes := include "torchbearer.scrapes" . }}
{{- if trim $scrapes }}
scrape_configs:
{{ trim $scrapes }}
{{- end }}
remote_write:
{{ include "torchbearer.remoteWrite" . | trim }}
{{- end -}}

{{/* The jobs out of the box, in the order of the docs. */}}
{{- define "torchbearer.jobNames" -}}
{{- list "kubelet" "cadvisor" "node" "kubernetes-pods" "kube-dns" "kube-proxy" "torchbearer" "kube-state-metrics" "kube-apiserver" "kubelet-windows" "cadvisor-windows" "windows-exporter" "kube-proxy-windows" | toJson -}}
{{- end -}}

{{- define "torchbearer.scrapes" -}}
{{- $root := .root -}}
{{- range $name := include "torchbearer.jobNames" $root | fromJsonArray -}}
{{- $job := get $root.Values.jobs $name -}}
{{- if $job.enabled }}
{{ include (printf "torchbearer.job.%s" $name) (dict "root" $root "name" $name "job" $job) }}
{{- end -}}
{{- end -}}
{{- range $name, $job := $root.Values.scrapeConfigs -}}
{{- if ne (toString $job.enabled) "false" }}
{{- $resolved := (include "torchbearer.resolve" (dict "value" (omit $job "enabled") "refs" $.refs "path" (printf "scrapeConfigs.%s" $name)) | fromYaml).value }}
- job_name: {{ $job.job_name | default $name | quote }}
  {{- omit $resolved "job_name" | toYaml | nindent 2 }}
{{- end -}}
{{- end -}}
{{- with tpl $root.Values.extraScrapeConfigs $root | fromYamlArray }}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{/* Scopes that are not the default of their job's discovery. */}}
{{- define "torchbearer.scopes" -}}
{{- $jobs := .Values.jobs -}}
{{- $auto := eq (.Values.kubelet.tls.insecureSkipVerify | toString) "auto" -}}
{{- $scopes := deepCopy (.Values.scopes | default dict) -}}
{{- range $name := list "kube-state-metrics" "kubelet-windows" "cadvisor-windows" "windows-exporter" "kube-proxy-windows" -}}
{{- if (get $jobs $name).enabled -}}
{{- $_ := set $scopes $name (get $scopes $name | default "cluster") -}}
{{- if and $auto (has $name (list "kubelet-windows" "cadvisor-windows")) -}}
{{- $_ := set $scopes (printf "%s-unverified" $name) (get $scopes $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $scopes }}{{ toYaml $scopes }}{{ end -}}
{{- end -}}
