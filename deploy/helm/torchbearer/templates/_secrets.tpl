{{/*
Settings with their Secrets. dict value (a map or list), refs (a dict that is filled with "secret/key"), path (for
messages). `X_from: {secret, key}` becomes `X_file`, `files_from` a list of files; a secret written out is refused.
The answer is YAML of {value: ...}.
*/}}
{{- define "torchbearer.resolve" -}}
{{- $refs := .refs -}}
{{- $path := .path -}}
{{- if kindIs "slice" .value -}}
  {{- $list := list -}}
  {{- range $i, $item := .value -}}
    {{- $list = append $list (include "torchbearer.resolve" (dict "value" $item "refs" $refs "path" (printf "%s[%d]" $path $i)) | fromYaml).value -}}
  {{- end -}}
  {{- toYaml (dict "value" $list) -}}
{{- else if kindIs "map" .value -}}
  {{- $map := dict -}}
  {{- range $key, $item := .value -}}
    {{- $at := printf "%s.%s" $path $key -}}
    {{- if eq $key "files_from" -}}
      {{- $files := list -}}
      {{- range $i, $ref := $item -}}
        {{- $files = append $files (include "torchbearer.secretFile" (dict "ref" $ref "refs" $refs "path" (printf "%s[%d]" $at $i))) -}}
      {{- end -}}
      {{- $_ := set $map "files" $files -}}
    {{- else if hasSuffix "_from" $key -}}
      {{- $_ := set $map (printf "%s_file" (trimSuffix "_from" $key)) (include "torchbearer.secretFile" (dict "ref" $item "refs" $refs "path" $at)) -}}
    {{- else -}}
      {{- include "torchbearer.notSecret" (dict "key" $key "value" $item "path" $path) -}}
      {{- $_ := set $map $key (include "torchbearer.resolve" (dict "value" $item "refs" $refs "path" $at) | fromYaml).value -}}
    {{- end -}}
  {{- end -}}
  {{- toYaml (dict "value" $map) -}}
{{- else -}}
  {{- toYaml (dict "value" .value) -}}
{{- end -}}
{{- end -}}

{{/* The path of the file that a reference becomes. */}}
{{- define "torchbearer.secretFile" -}}
{{- if not (kindIs "map" .ref) -}}
{{- fail (printf "%s: write {secret: <name of a Secret in this namespace>, key: <key in it>}" .path) -}}
{{- end -}}
{{- if or (not .ref.secret) (not .ref.key) -}}
{{- fail (printf "%s: set both secret (the name of a Secret in this namespace) and key (the key in it)" .path) -}}
{{- end -}}
{{- if not (regexMatch "^[-._a-zA-Z0-9]+$" (toString .ref.key)) -}}
{{- fail (printf "%s.key: %q cannot be the key of a Secret" .path .ref.key) -}}
{{- end -}}
{{- $_ := set .refs (printf "%s/%s" .ref.secret .ref.key) .ref -}}
{{- printf "/etc/torchbearer/secrets/%s/%s" .ref.secret .ref.key -}}
{{- end -}}

{{/* Refuses a secret that stands in the values. */}}
{{- define "torchbearer.notSecret" -}}
{{- $secret := list "password" "credentials" "bearer_token" "client_secret" "client_certificate_key" "certificate_password" "secret_key" -}}
{{- if and (has .key $secret) .value -}}
{{- if eq .key "bearer_token" -}}
{{- fail (printf "%s.bearer_token would stand in a ConfigMap: put it into a Secret and write authorization: {credentials_from: {secret: NAME, key: KEY}}" .path) -}}
{{- else if contains ".azuread" .path -}}
{{- fail (printf "%s.%s would stand in a ConfigMap: use workload_identity, managed_identity, sdk, or certificate with a file of extraSecretMounts" .path .key) -}}
{{- else -}}
{{- fail (printf "%s.%s would stand in a ConfigMap: put it into a Secret and write %s_from: {secret: NAME, key: KEY}" .path .key .key) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .key "key") (hasSuffix "tls_config" .path) .value -}}
{{- fail (printf "%s.key would stand in a ConfigMap: put it into a Secret and write key_from: {secret: NAME, key: KEY}" .path) -}}
{{- end -}}
{{- if and (eq .key "secrets") (contains "http_headers" .path) .value -}}
{{- fail (printf "%s.secrets would stand in a ConfigMap: put them into a Secret and write files_from: [{secret: NAME, key: KEY}]" .path) -}}
{{- end -}}
{{- if and (or (eq .key "headers") (eq .key "proxy_connect_header")) (kindIs "map" .value) -}}
{{- range $name, $_ := .value -}}
{{- if regexMatch "(?i)auth|token|secret|key|passw" $name -}}
{{- fail (printf "%s.%s.%s looks like a secret and would stand in a ConfigMap: put it into a Secret and write http_headers: {%s: {files_from: [{secret: NAME, key: KEY}]}}" $.path $.key $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (kindIs "string" .value) (regexMatch "^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*:[^/?#]*@" .value) -}}
{{- fail (printf "%s.%s has a password in its address, which would stand in a ConfigMap: write basic_auth: {username: NAME, password_from: {secret: NAME, key: KEY}}" .path .key) -}}
{{- end -}}
{{- end -}}
