{{/* The pod of the DaemonSet and of the Deployment. dict root, component: agent or cluster. */}}
{{- define "torchbearer.pod" -}}
{{- $root := .root -}}
{{- $cluster := eq .component "cluster" -}}
{{- $hostPath := and (eq $root.Values.storage.type "hostPath") (not $cluster) -}}
{{- $labels := include "torchbearer.map" (dict "root" $root "name" "podLabels") | fromYaml -}}
{{- if and (include "torchbearer.workloadIdentity" $root) (not (hasKey $labels "azure.workload.identity/use")) -}}
{{- $_ := set $labels "azure.workload.identity/use" "true" -}}
{{- end -}}
{{- $annotations := include "torchbearer.map" (dict "root" $root "name" "podAnnotations") | fromYaml -}}
{{- if $cluster -}}
{{- /* An emptyDir must not keep the autoscaler from removing a node: what is in it is sent at a stop. */ -}}
{{- $annotations = merge $annotations (dict "cluster-autoscaler.kubernetes.io/safe-to-evict" "true") -}}
{{- end -}}
metadata:
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  labels:
    {{- include "torchbearer.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "torchbearer.serviceAccountName" $root }}
  automountServiceAccountToken: true
  {{- with include "torchbearer.value" (dict "root" $root "name" "imagePullSecrets") | fromYamlArray }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "torchbearer.text" (dict "root" $root "name" "priorityClassName") }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "torchbearer.value" (dict "root" $root "name" "terminationGracePeriodSeconds") }}
  {{- if $root.Values.hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  securityContext:
    {{- include "torchbearer.podSecurityContext" $root | nindent 4 }}
  {{- if $hostPath }}
  initContainers:
  {{- include "torchbearer.prepareContainer" $root | nindent 2 }}
  {{- end }}
  containers:
  {{- include "torchbearer.container" . | nindent 2 }}
  volumes:
  {{- include "torchbearer.volumes" (merge (dict "hostPath" $hostPath) .) | trim | nindent 2 }}
{{- end -}}

{{- define "torchbearer.text" -}}
{{- get (.root.Values.server | default dict) .name | default (get .root.Values .name) -}}
{{- end -}}

{{- define "torchbearer.image" -}}
{{- $image := merge dict (deepCopy ((.Values.server | default dict).image | default dict)) .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion | toString) -}}
{{- end -}}
{{- end -}}
{{- define "torchbearer.pullPolicy" -}}
{{- ((.Values.server | default dict).image | default dict).pullPolicy | default .Values.image.pullPolicy -}}
{{- end -}}

{{- define "torchbearer.podSecurityContext" -}}
{{- $ours := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $ours (deepCopy .Values.podSecurityContext)) -}}
{{- end -}}
{{- define "torchbearer.containerSecurityContext" -}}
{{- $ours := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $ours (deepCopy .Values.containerSecurityContext)) -}}
{{- end -}}

{{/* Gives the folder on the node to the agent's user: the only thing that is done as root. */}}
{{- define "torchbearer.prepareContainer" -}}
{{- $user := include "torchbearer.podSecurityContext" . | fromYaml -}}
- name: prepare-data
  image: {{ include "torchbearer.image" . | quote }}
  imagePullPolicy: {{ include "torchbearer.pullPolicy" . }}
  args: [prepare-data, "--owner={{ int64 $user.runAsUser }}:{{ int64 $user.runAsGroup }}", /data]
  securityContext:
    runAsUser: 0
    runAsGroup: 0
    runAsNonRoot: false
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
      add: [CHOWN, DAC_OVERRIDE, FOWNER]
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 128Mi}
  volumeMounts:
  - {name: data, mountPath: /data}
{{- end -}}

{{- define "torchbearer.args" -}}
{{- $root := .root -}}
- --config.file=/etc/torchbearer/config/torchbearer.yaml
- --config.auto-reload-interval={{ $root.Values.configReloadInterval }}
- --storage.agent.path=/data
- --storage.agent.max-bytes={{ $root.Values.storage.maxBytes }}
- --web.listen-address=:{{ int $root.Values.web.port }}
{{- if $root.Values.web.enableLifecycle }}
- --web.enable-lifecycle
{{- end }}
{{- if $root.Values.web.tls.secretName }}
- --web.config.file=/etc/torchbearer/web/web.yaml
{{- end }}
- --lease.name={{ include "torchbearer.fullname" $root }}
{{- if $root.Values.clusterScope.deployment.enabled }}
- --scrape.scope={{ ternary "cluster" "node" (eq .component "cluster") }}
{{- end }}
{{- range $root.Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- range ($root.Values.server | default dict).extraFlags }}
- {{ printf "--%s" (trimPrefix "--" .) | quote }}
{{- end }}
{{- range $name, $value := ($root.Values.server | default dict).extraArgs }}
- {{ printf "--%s=%s" $name (toString $value) | quote }}
{{- end }}
{{- end -}}

{{- define "torchbearer.container" -}}
{{- $root := .root -}}
- name: torchbearer
  image: {{ include "torchbearer.image" $root | quote }}
  imagePullPolicy: {{ include "torchbearer.pullPolicy" $root }}
  args:
  {{- include "torchbearer.args" . | nindent 2 }}
  env:
  {{- range $name, $field := dict "NODE_NAME" "spec.nodeName" "NODE_IP" "status.hostIP" "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" }}
  - {name: {{ $name }}, valueFrom: {fieldRef: {fieldPath: {{ $field }}}}}
  {{- end }}
  {{- with include "torchbearer.list" (dict "root" $root "name" "env") | fromYamlArray }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  ports:
  - {name: http, containerPort: {{ int $root.Values.web.port }}, protocol: TCP}
  {{- $scheme := ternary "HTTPS" "HTTP" (not (empty $root.Values.web.tls.secretName)) }}
  # A large log takes time to open, while /-/healthy answers already.
  startupProbe:
    httpGet: {path: /-/healthy, port: http, scheme: {{ $scheme }}}
    periodSeconds: 2
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /-/healthy, port: http, scheme: {{ $scheme }}}
    periodSeconds: 15
    timeoutSeconds: 10
    failureThreshold: 4
  readinessProbe:
    httpGet: {path: /-/ready, port: http, scheme: {{ $scheme }}}
    periodSeconds: 5
    timeoutSeconds: 4
  securityContext:
    {{- include "torchbearer.containerSecurityContext" $root | nindent 4 }}
  resources:
    {{- if eq .component "cluster" }}
    {{- toYaml $root.Values.clusterScope.deployment.resources | nindent 4 }}
    {{- else }}
    {{- include "torchbearer.value" (dict "root" $root "name" "resources") | nindent 4 }}
    {{- end }}
  volumeMounts:
  - {name: data, mountPath: /data}
  - {name: config, mountPath: /etc/torchbearer/config, readOnly: true}
  {{- if include "torchbearer.secretRefs" $root | fromYaml }}
  - {name: secrets, mountPath: /etc/torchbearer/secrets, readOnly: true}
  {{- end }}
  {{- if $root.Values.web.tls.secretName }}
  - {name: web, mountPath: /etc/torchbearer/web, readOnly: true}
  - {name: web-tls, mountPath: /etc/torchbearer/web-tls, readOnly: true}
  {{- end }}
  {{- range include "torchbearer.list" (dict "root" $root "name" "extraSecretMounts") | fromYamlArray }}
  - name: {{ .name }}
    mountPath: {{ .mountPath }}
    {{- with .subPath }}
    subPath: {{ . }}
    {{- end }}
    readOnly: {{ ternary .readOnly true (hasKey . "readOnly") }}
  {{- end }}
  {{- with include "torchbearer.list" (dict "root" $root "name" "extraVolumeMounts") | fromYamlArray }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
