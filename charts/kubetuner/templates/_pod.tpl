{{/* Every pod of the chart is as PodSecurity `restricted` asks, and its root is read-only. */}}
{{- define "kubetuner.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "kubetuner.containerSecurity" -}}
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "kubetuner.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Resource, tolerations of the preset and of the values: what pods with GPUs get. As JSON. */}}
{{- define "kubetuner.gpu" -}}
{{- $presets := dict "none" "" "nvidia" "nvidia.com/gpu" "amd" "amd.com/gpu" "intel" "gpu.intel.com/xe" -}}
{{- $gpu := .Values.pods.gpu -}}
{{- $resource := default (index $presets $gpu.preset) $gpu.resource -}}
{{- $tolerations := list -}}
{{- if and (ne $gpu.preset "none") $resource -}}
{{- $tolerations = list (dict "key" $resource "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- dict "resource" $resource "tolerations" (concat $tolerations $gpu.tolerations) "nodeSelector" $gpu.nodeSelector "runtimeClassName" $gpu.runtimeClassName | toJson -}}
{{- end -}}
