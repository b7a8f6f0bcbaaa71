{{/* Whether dry runs are looked at beside the controller: "true", or nothing. */}}
{{- define "kubetuner.inspects" -}}
{{- if and .Values.runService.enabled .Values.inspection.enabled }}true{{ end -}}
{{- end -}}

{{- define "kubetuner.inspectionSocket" -}}
unix:/run/kubetuner/inspection.sock
{{- end -}}

{{/* The container that looks. It has no readiness probe: were it away for a while, RunService would still answer. */}}
{{- define "kubetuner.inspectionContainer" -}}
- name: inspection
  image: {{ include "kubetuner.image" (list . .Values.images.ingest) | quote }}
  imagePullPolicy: {{ .Values.images.pullPolicy }}
  command: [python, -m, kubetuner.ingest.looks]
  securityContext: {{- include "kubetuner.containerSecurity" . | nindent 4 }}
  ports:
  - {name: looks, containerPort: 8082}
  livenessProbe: {grpc: {port: 8082}, initialDelaySeconds: 10, periodSeconds: 20, timeoutSeconds: 10, failureThreshold: 6}
  resources: {{- toYaml .Values.inspection.resources | nindent 4 }}
  env:
  - {name: KUBETUNER_LISTEN, value: {{ include "kubetuner.inspectionSocket" . | quote }}}
  - {name: KUBETUNER_HEALTH_LISTEN, value: "[::]:8082"}
  - {name: KUBETUNER_LOG_LEVEL, value: {{ .Values.controller.logLevel }}}
  {{- include "kubetuner.storeEnv" . | nindent 2 }}
  volumeMounts:
  - {name: inspection-tmp, mountPath: /tmp}
  - {name: inspection, mountPath: /run/kubetuner}
  {{- with include "kubetuner.caMount" . }}{{ trim . | nindent 2 }}{{ end }}
{{- end -}}
