{{/* What the controller gives the pods of runs; services/kubetuner/controller/defaults.py says what each key does. */}}
{{- define "kubetuner.podDefaults" -}}
{{- $pods := .Values.pods -}}
{{- $store := .Values.objectStore -}}
{{- $gpu := include "kubetuner.gpu" . | fromJson -}}
{{- $env := $pods.extraEnv -}}
{{- if not (kindIs "invalid" $store.pathStyle) -}}
{{- $env = prepend $env (dict "name" "KUBETUNER_S3_PATH_STYLE" "value" (ternary "1" "0" $store.pathStyle)) -}}
{{- end -}}
{{- $hub := list -}}
{{- with .Values.hub.endpoint }}{{ $hub = append $hub (dict "name" "HF_ENDPOINT" "value" .) }}{{ end -}}
{{- with .Values.hub.token -}}
{{- if .existingSecret -}}
{{- $hub = append $hub (dict "name" "HF_TOKEN" "valueFrom" (dict "secretKeyRef" (dict "name" .existingSecret "key" .key "optional" true))) -}}
{{- end -}}
{{- end -}}
{{- $stages := dict -}}
{{- range $name, $stage := $pods.stages -}}
{{- $resources := deepCopy $stage.resources -}}
{{- if $stage.gpus -}}
{{- $_ := set $resources "limits" (merge (dict (required "pods.gpu.resource is needed where pods.gpu.preset is none and a stage asks for GPUs" $gpu.resource) ($stage.gpus | toString)) ($resources.limits | default dict)) -}}
{{- end -}}
{{- $own := ternary $hub (list) (eq $name "ingest") -}}
{{- $_ := set $stages $name (dict "resources" $resources "nodeSelector" $stage.nodeSelector "tolerations" $stage.tolerations "env" (concat $own $stage.extraEnv | default list) "runtimeClassName" $pods.runtimeClassName "shmSize" $pods.shmSize) -}}
{{- end -}}
imagePullPolicy: {{ .Values.images.pullPolicy }}
imagePullSecrets: {{ toJson .Values.images.pullSecrets }}
serviceAccountName: {{ $pods.serviceAccountName | quote }}
runAsUser: {{ .Values.runAsUser | toJson }}
labels: {{ merge (deepCopy $pods.labels) .Values.commonLabels | toJson }}
annotations: {{ toJson $pods.annotations }}
env: {{ toJson $env }}
store: {{ dict "accessKey" $store.auth.accessKey "secretKey" $store.auth.secretKey | toJson }}
{{- if $store.caBundle.existingSecret }}
caBundle: {{ dict "secret" $store.caBundle.existingSecret "key" $store.caBundle.key | toJson }}
{{- end }}
{{- with $pods.tls.existingSecret }}
tls: {secret: {{ . }}}
{{- end }}
{{- with $pods.cache.claimName }}
cacheVolume: {{ . }}
{{- end }}
{{- with $pods.cache.sizeLimit }}
cacheSize: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ $pods.terminationGracePeriodSeconds }}
priorityClassName: {{ $pods.priorityClassName | quote }}
schedulerName: {{ $pods.schedulerName | quote }}
nodeSelector: {{ toJson $pods.nodeSelector }}
tolerations: {{ toJson $pods.tolerations }}
gpu: {{ include "kubetuner.gpu" . }}
stages:
{{ toYaml $stages | indent 2 }}
{{- end -}}
