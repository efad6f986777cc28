{{/* What a schema cannot say, or not so that one knows what to do. */}}
{{- define "torchbearer.validate" -}}
{{- if eq (include "torchbearer.ownConfig" .) "yes" -}}
{{- include "torchbearer.validateLabels" . -}}
{{- if not (include "torchbearer.destinations" . | fromYaml).list -}}
{{- fail "remoteWrite: set where to send to: remoteWrite: [{url: https://prometheus.example.com/api/v1/write}]" -}}
{{- end -}}
{{- end -}}
{{- include "torchbearer.validateCommunity" . -}}
{{- include "torchbearer.validateJobs" . -}}
{{- if and (eq .Values.storage.type "hostPath") (not (has (toString ((.Values.updateStrategy.rollingUpdate | default dict).maxSurge | default 0)) (list "0" "0%"))) -}}
{{- fail "updateStrategy.rollingUpdate.maxSurge: two agents cannot have the same data directory: leave it out, or set storage.type to emptyDir" -}}
{{- end -}}
{{- end -}}

{{- define "torchbearer.validateLabels" -}}
{{- $theirs := (include "torchbearer.global" . | fromYaml).external_labels | default dict -}}
{{- $labels := include "torchbearer.externalLabels" . | fromYaml -}}
{{- range $value, $label := dict "clusterName" "clustername" "environment" "environment" -}}
{{- $given := get $.Values $value | default "" | toString -}}
{{- if not (get $labels $label | default "" | trim) -}}
{{- fail (printf "%s: set it: it is the label %s of every sample that leaves this cluster (--set %s=...)" $value $label $value) -}}
{{- end -}}
{{- range $other := list (get $theirs $label) (get ($.Values.externalLabels | default dict) $label) -}}
{{- if and $given $other (ne $given (toString $other)) -}}
{{- fail (printf "%s is %q, but the external label %s is %q: remove one of them" $value $given $label (toString $other)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the prometheus-community chart has and this one has not. Switched off, it means the same. */}}
{{- define "torchbearer.validateCommunity" -}}
{{- range $chart := list "alertmanager" "kube-state-metrics" "prometheus-node-exporter" "prometheus-pushgateway" -}}
{{- with get $.Values $chart -}}
{{- if ne (toString (get . "enabled")) "false" -}}
{{- fail (printf "%s: this chart does not install it: install the chart prometheus-community/%s beside it, or set %s.enabled to false" $chart $chart $chart) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with (.Values.server | default dict).defaultFlagsOverride -}}
{{- fail "server.defaultFlagsOverride: remove it: torchbearer is always an agent, and the chart knows where its files are; further flags go to extraArgs" -}}
{{- end -}}
{{- end -}}

{{- define "torchbearer.validateJobs" -}}
{{- $ours := include "torchbearer.jobNames" . | fromJsonArray -}}
{{- range $name, $job := .Values.scrapeConfigs -}}
{{- if ne (toString $job.enabled) "false" -}}
{{- if has $name $ours -}}
{{- fail (printf "scrapeConfigs.%s: the chart has a job of that name: change jobs.%s, or name yours otherwise" $name $name) -}}
{{- end -}}
{{- $discovery := list -}}
{{- range $key, $_ := $job }}{{ if regexMatch "_configs$" $key }}{{ if not (regexMatch "relabel_configs$" $key) }}{{ $discovery = append $discovery $key }}{{ end }}{{ end }}{{ end -}}
{{- if not $discovery -}}
{{- fail (printf "scrapeConfigs.%s: it has no targets: add kubernetes_sd_configs or static_configs. The default jobs of the prometheus-community chart are not here: see jobs" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $extra := tpl .Values.extraScrapeConfigs . -}}
{{- if trim $extra -}}
{{- range $i, $job := fromYamlArray $extra -}}
{{- if not (kindIs "map" $job) -}}
{{- fail (printf "extraScrapeConfigs: write a list of scrape_configs, each beginning with `- job_name:`; %v" $job) -}}
{{- end -}}
{{- if has (toString $job.job_name) $ours -}}
{{- fail (printf "extraScrapeConfigs: the chart has a job %s: change jobs.%s, or name yours otherwise" $job.job_name $job.job_name) -}}
{{- end -}}
{{- $refs := dict -}}
{{- $_ := include "torchbearer.resolve" (dict "value" $job "refs" $refs "path" (printf "extraScrapeConfigs[%d]" $i)) -}}
{{- if $refs -}}
{{- fail (printf "extraScrapeConfigs[%d]: Secrets are taken by jobs of scrapeConfigs only: move it there" $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq (include "torchbearer.ownConfig" .) "yes" -}}
{{- $known := list -}}
{{- range $ours }}{{ if (get $.Values.jobs .).enabled }}{{ $known = append $known . }}{{ end }}{{ end -}}
{{- range (include "torchbearer.userJobs" . | fromYaml).list }}{{ $known = append $known (toString .job_name) }}{{ end -}}
{{- range $value, $names := dict "scopes" (keys .Values.scopes) "trustedLabelJobs" .Values.trustedLabelJobs "limits.job_max_series" (keys (.Values.limits.job_max_series | default dict)) -}}
{{- range $names -}}
{{- if not (has . $known) -}}
{{- fail (printf "%s: there is no job %s; those that are enabled are %s" $value . (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range (get .Values.jobs "kubernetes-pods").podLabels -}}
{{- $label := regexReplaceAll "[^a-zA-Z0-9_]" . "_" -}}
{{- if has $label (list "namespace" "pod" "node" "container" "job" "instance") -}}
{{- fail (printf "jobs.kubernetes-pods.podLabels: %s would overwrite the label %s, which says where a series comes from" . $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
