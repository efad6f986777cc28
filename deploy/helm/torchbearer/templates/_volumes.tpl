{{/* {"secret/key": {secret, key}} of all that the config takes from Secrets. */}}
{{- define "torchbearer.secretRefs" -}}
{{- $refs := dict -}}
{{- if eq (include "torchbearer.ownConfig" .) "yes" -}}
{{- $_ := include "torchbearer.config" (dict "root" . "refs" $refs) -}}
{{- end -}}
{{- toYaml $refs -}}
{{- end -}}

{{/* dict root, hostPath: whether the data is on the node. */}}
{{- define "torchbearer.volumes" -}}
{{- $root := .root -}}
- name: data
  {{- if .hostPath }}
  hostPath:
    path: {{ $root.Values.storage.hostPath.path | trimSuffix "/" }}/{{ include "torchbearer.namespace" $root }}/{{ $root.Release.Name }}
    type: DirectoryOrCreate
  {{- else }}
  emptyDir:
    {{- with $root.Values.storage.emptyDir.medium }}
    medium: {{ . }}
    {{- end }}
    {{- with $root.Values.storage.emptyDir.sizeLimit }}
    sizeLimit: {{ . }}
    {{- end }}
  {{- end }}
# A whole folder and no subPath: only so a changed ConfigMap reaches a running pod.
- name: config
  configMap:
    name: {{ include "torchbearer.configMapName" $root }}
    {{- if ne (include "torchbearer.ownConfig" $root) "yes" }}
    items:
    - {key: {{ $root.Values.configMapOverrideKey }}, path: torchbearer.yaml}
    {{- end }}
{{- with include "torchbearer.secretRefs" $root | fromYaml }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
    {{- range . }}
    - secret:
        name: {{ .secret }}
        items:
        - {key: {{ .key }}, path: {{ .secret }}/{{ .key }}}
    {{- end }}
{{- end }}
{{- with $root.Values.web.tls.secretName }}
- name: web
  configMap:
    name: {{ include "torchbearer.fullname" $root }}-web
- name: web-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- range include "torchbearer.list" (dict "root" $root "name" "extraSecretMounts") | fromYamlArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
{{- end }}
{{- with include "torchbearer.list" (dict "root" $root "name" "extraVolumes") | fromYamlArray }}
{{ toYaml . }}
{{- end }}
{{- end -}}
