{{/* Names and labels. */}}

{{- define "torchbearer.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of most objects, and of the lease: two releases never share it. Room is left for suffixes. */}}
{{- define "torchbearer.fullname" -}}
{{- $name := include "torchbearer.name" . -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name $release -}}
{{- $release | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" $release $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "torchbearer.namespace" -}}
{{- .Values.forceNamespace | default .Release.Namespace -}}
{{- end -}}

{{/* Objects without a namespace carry it in their names. A dot cannot be part of either half. */}}
{{- define "torchbearer.clusterName" -}}
{{- printf "%s.%s" (include "torchbearer.fullname" .) (include "torchbearer.namespace" .) -}}
{{- end -}}

{{- define "torchbearer.serviceAccountName" -}}
{{- $account := include "torchbearer.serviceAccount" . | fromYaml -}}
{{- if $account.create -}}
{{- $account.name | default (include "torchbearer.fullname" .) -}}
{{- else -}}
{{- $account.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "torchbearer.selectorLabels" -}}
app.kubernetes.io/name: {{ include "torchbearer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "torchbearer.labels" -}}
{{ include "torchbearer.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonMetaLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* metadata of an object of the release's namespace: dict root, name (optional), component (optional). */}}
{{- define "torchbearer.metadata" -}}
metadata:
  name: {{ .name | default (include "torchbearer.fullname" .root) }}
  namespace: {{ .namespace | default (include "torchbearer.namespace" .root) }}
  labels:
    {{- include "torchbearer.labels" .root | nindent 4 }}
    {{- with .component }}
    app.kubernetes.io/component: {{ . }}
    {{- end }}
{{- end -}}

{{- define "torchbearer.clusterMetadata" -}}
metadata:
  name: {{ include "torchbearer.clusterName" . }}
  labels:
    {{- include "torchbearer.labels" . | nindent 4 }}
{{- end -}}
