{{/* One rule's ports and peers: (dict "side" "to"|"from" "peers" list "ports" list "udp" bool). */}}
{{- define "kubetuner.rule" -}}
- ports:
{{- range .ports }}
  - {port: {{ . }}, protocol: TCP}
  {{- if $.udp }}
  - {port: {{ . }}, protocol: UDP}
  {{- end }}
{{- end }}
{{- with .peers }}
  {{ $.side }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "kubetuner.dnsRule" -}}
{{ include "kubetuner.rule" (dict "side" "to" "udp" true "ports" .Values.networkPolicy.dns.ports "peers" .Values.networkPolicy.dns.peers) }}
{{- end -}}

{{- define "kubetuner.storeRule" -}}
{{- $rule := .Values.networkPolicy.objectStore -}}
{{- $peers := $rule.peers -}}
{{- if and .Values.minio.enabled (not .Values.objectStore.endpoint) (not $peers) -}}
{{- $peers = list (dict "namespaceSelector" (include "kubetuner.here" . | fromYaml) "podSelector" (dict "matchLabels" (include "kubetuner.selector" (list . "minio") | fromYaml))) -}}
{{- end -}}
{{ include "kubetuner.rule" (dict "side" "to" "ports" (default (list (include "kubetuner.endpointPort" .)) $rule.ports) "peers" $peers) }}
{{- end -}}

{{/* Selects the release's own namespace. */}}
{{- define "kubetuner.here" -}}
matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}
{{- end -}}

{{/* The pods of runs, and standing services. */}}
{{- define "kubetuner.stagePods" -}}
matchLabels: {app.kubernetes.io/name: kubetuner}
matchExpressions:
- {key: app.kubernetes.io/component, operator: In, values: [ingest, embed, train, evaluate]}
{{- end -}}
