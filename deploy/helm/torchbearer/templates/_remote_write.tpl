{{/* remote_write of the config. dict root, refs. */}}
{{- define "torchbearer.remoteWrite" -}}
{{- $root := .root -}}
{{- $refs := .refs -}}
{{- range $i, $item := (include "torchbearer.destinations" $root | fromYaml).list -}}
{{- $path := printf "remoteWrite[%d]" $i -}}
{{- $url := tpl ($item.url | default "" | toString) $root -}}
{{- if not $url -}}
{{- fail (printf "%s.url: set the address of the central Prometheus, for example https://prometheus.example.com/api/v1/write" $path) -}}
{{- end -}}
{{- if not (regexMatch "^(https?://[^/?#\\s]+|\\$\\{[A-Za-z_][A-Za-z0-9_]*\\})" $url) -}}
{{- fail (printf "%s.url: %q is no address: it begins with https:// or http:// and a host, for example https://prometheus.example.com/api/v1/write" $path $url) -}}
{{- end -}}
{{- $resolved := (include "torchbearer.resolve" (dict "value" (merge (dict "url" $url) $item) "refs" $refs "path" $path) | fromYaml).value -}}
{{- with $item.name }}{{ $_ := set $resolved "name" (tpl . $root) }}{{ end -}}
{{- if not $resolved.protobuf_message -}}
{{- $_ := set $resolved "protobuf_message" "io.prometheus.write.v2.Request" -}}
{{- end }}
- url: {{ $url | quote }}
  {{- omit $resolved "url" | toYaml | nindent 2 }}
{{- end -}}
{{- end -}}
