{{/* Where a value may have our name or that of the prometheus-community chart, both are read here. */}}

{{/* A value of the pod, as YAML: server.<name> when it is set, else ours. dict root, name. */}}
{{- define "torchbearer.value" -}}
{{- toYaml (get (.root.Values.server | default dict) .name | default (get .root.Values .name)) -}}
{{- end -}}

{{/* The same for maps that are merged, and for lists that are joined. */}}
{{- define "torchbearer.map" -}}
{{- toYaml (merge dict (get (.root.Values.server | default dict) .name | default dict) (get .root.Values .name | default dict)) -}}
{{- end -}}
{{- define "torchbearer.list" -}}
{{- toYaml (concat (get .root.Values .name | default list) (get (.root.Values.server | default dict) .name | default list)) -}}
{{- end -}}

{{- define "torchbearer.global" -}}
{{- toYaml ((.Values.server | default dict).global | default dict) -}}
{{- end -}}

{{/* All external labels. */}}
{{- define "torchbearer.externalLabels" -}}
{{- $labels := deepCopy ((include "torchbearer.global" . | fromYaml).external_labels | default dict) -}}
{{- $labels = merge (deepCopy (.Values.externalLabels | default dict)) $labels -}}
{{- with .Values.clusterName }}{{ $_ := set $labels "clustername" . }}{{ end -}}
{{- with .Values.environment }}{{ $_ := set $labels "environment" . }}{{ end -}}
{{- range $name, $value := $labels }}
{{ $name }}: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}

{{/* {list: [...]} of all destinations, ours first. */}}
{{- define "torchbearer.destinations" -}}
{{- toYaml (dict "list" (concat (.Values.remoteWrite | default list) ((.Values.server | default dict).remoteWrite | default list))) -}}
{{- end -}}

{{- define "torchbearer.serviceAccount" -}}
{{- $theirs := (.Values.serviceAccounts | default dict).server | default dict -}}
{{- $account := merge dict (deepCopy $theirs) (deepCopy .Values.serviceAccount) -}}
{{- $annotations := merge dict (deepCopy ($theirs.annotations | default dict)) (deepCopy (.Values.serviceAccount.annotations | default dict)) -}}
{{- $client := include "torchbearer.workloadIdentity" . -}}
{{- if and $client (not (hasKey $annotations "azure.workload.identity/client-id")) -}}
{{- $_ := set $annotations "azure.workload.identity/client-id" $client -}}
{{- end -}}
{{- $_ := set $account "annotations" $annotations -}}
{{- /* merge takes a false for unset. */ -}}
{{- $_ := set $account "create" (ternary $theirs.create .Values.serviceAccount.create (hasKey $theirs "create")) -}}
{{- toYaml $account -}}
{{- end -}}

{{/* The client id of the first destination with Azure AD workload identity, else nothing. */}}
{{- define "torchbearer.workloadIdentity" -}}
{{- $client := "" -}}
{{- range (include "torchbearer.destinations" . | fromYaml).list -}}
{{- $client = $client | default (((.azuread | default dict).workload_identity | default dict).client_id | default "") -}}
{{- end -}}
{{- $client -}}
{{- end -}}

{{/* The ConfigMap that holds the config. The prometheus-community chart puts the release's name before it. */}}
{{- define "torchbearer.configMapName" -}}
{{- $theirs := (.Values.server | default dict).configMapOverrideName -}}
{{- if .Values.configMapOverrideName -}}
{{- .Values.configMapOverrideName -}}
{{- else if $theirs -}}
{{- printf "%s-%s" .Release.Name $theirs -}}
{{- else -}}
{{- include "torchbearer.fullname" . -}}
{{- end -}}
{{- end -}}
{{- define "torchbearer.ownConfig" -}}
{{- if or .Values.configMapOverrideName (.Values.server | default dict).configMapOverrideName }}no{{ else }}yes{{ end -}}
{{- end -}}

{{/* {list: [...]} of the jobs that a user wrote, with job_name, as far as their text can be read. */}}
{{- define "torchbearer.userJobs" -}}
{{- $jobs := list -}}
{{- range $name, $job := .Values.scrapeConfigs -}}
{{- if ne (toString $job.enabled) "false" -}}
{{- $jobs = append $jobs (merge (dict "job_name" $name) (omit $job "enabled")) -}}
{{- end -}}
{{- end -}}
{{- range (tpl .Values.extraScrapeConfigs . | fromYamlArray) -}}
{{- if kindIs "map" . }}{{ $jobs = append $jobs . }}{{ end -}}
{{- end -}}
{{- toYaml (dict "list" $jobs) -}}
{{- end -}}
