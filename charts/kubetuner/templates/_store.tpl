{{/* Address of the object store with its scheme; empty for Amazon's. */}}
{{- define "kubetuner.endpoint" -}}
{{- $store := .Values.objectStore -}}
{{- if and (not $store.endpoint) .Values.minio.enabled -}}
http://{{ include "kubetuner.fullname" . }}-minio.{{ .Release.Namespace }}.svc:9000
{{- else if contains "://" $store.endpoint -}}
{{- trimSuffix "/" $store.endpoint -}}
{{- else if $store.endpoint -}}
{{ ternary "https" "http" $store.secure }}://{{ trimSuffix "/" $store.endpoint }}
{{- end -}}
{{- end -}}

{{- define "kubetuner.endpointPort" -}}
{{- $endpoint := include "kubetuner.endpoint" . -}}
{{- $port := regexFind ":[0-9]+$" $endpoint | trimPrefix ":" -}}
{{- default (ternary "80" "443" (hasPrefix "http://" $endpoint)) $port -}}
{{- end -}}

{{- define "kubetuner.storeUri" -}}
s3://{{ .Values.objectStore.bucket }}{{ with .Values.objectStore.prefix }}/{{ trimAll "/" . }}{{ end }}
{{- end -}}

{{- define "kubetuner.storeSecret" -}}
{{- if .Values.objectStore.auth.existingSecret -}}
{{- .Values.objectStore.auth.existingSecret -}}
{{- else if .Values.minio.enabled -}}
{{- include "kubetuner.minioSecret" . -}}
{{- else -}}
{{- fail "objectStore.auth.existingSecret is needed: the name of a Secret with the keys accessKey and secretKey of the object store (or minio.enabled=true for a trial)" -}}
{{- end -}}
{{- end -}}

{{/* What tells a process of ours where the store is and who we are there. */}}
{{- define "kubetuner.storeEnv" -}}
{{- $auth := .Values.objectStore.auth -}}
- {name: KUBETUNER_STORE, value: {{ include "kubetuner.storeUri" . | quote }}}
{{- with include "kubetuner.endpoint" . }}
- {name: KUBETUNER_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if not (kindIs "invalid" .Values.objectStore.pathStyle) }}
- {name: KUBETUNER_S3_PATH_STYLE, value: {{ ternary "1" "0" .Values.objectStore.pathStyle | quote }}}
{{- end }}
{{- with .Values.objectStore.region }}
- {name: AWS_REGION, value: {{ . | quote }}}
{{- end }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ include "kubetuner.storeSecret" . }}, key: {{ $auth.accessKey | quote }}}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ include "kubetuner.storeSecret" . }}, key: {{ $auth.secretKey | quote }}}}
{{- if .Values.objectStore.caBundle.existingSecret }}
- {name: AWS_CA_BUNDLE, value: /etc/kubetuner/ca/ca.crt}
{{- end }}
{{- end -}}

{{- define "kubetuner.caVolume" -}}
{{- with .Values.objectStore.caBundle }}
{{- if .existingSecret }}
- name: ca
  secret: {secretName: {{ .existingSecret }}, items: [{key: {{ .key | quote }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end -}}

{{- define "kubetuner.caMount" -}}
{{- if .Values.objectStore.caBundle.existingSecret }}
- {name: ca, mountPath: /etc/kubetuner/ca, readOnly: true}
{{- end }}
{{- end -}}
