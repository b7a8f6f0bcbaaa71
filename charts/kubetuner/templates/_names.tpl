{{- define "kubetuner.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "kubetuner" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-kubetuner" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select: (list $ component). */}}
{{- define "kubetuner.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: kubetuner
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels of an object: (list $ component). */}}
{{- define "kubetuner.labels" -}}
{{- $root := index . 0 -}}
{{ include "kubetuner.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: kubetuner
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kubetuner.serviceAccount" -}}
{{- if .Values.controller.serviceAccount.create -}}
{{- default (printf "%s-controller" (include "kubetuner.fullname" .)) .Values.controller.serviceAccount.name -}}
{{- else -}}
{{- required "controller.serviceAccount.name is needed where controller.serviceAccount.create is false" .Values.controller.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image's name: (list $ image); its tag is the chart's appVersion where none is given, and a digest wins. */}}
{{- define "kubetuner.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := default $root.Values.images.registry $image.registry -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "kubetuner.tlsSecret" -}}
{{- default (printf "%s-tls" (include "kubetuner.fullname" .)) .Values.tls.existingSecret -}}
{{- end -}}

{{- define "kubetuner.minioSecret" -}}
{{- default (printf "%s-minio" (include "kubetuner.fullname" .)) .Values.minio.existingSecret -}}
{{- end -}}

{{/* DNS names of a Service of this release: (list $ service). */}}
{{- define "kubetuner.dnsNames" -}}
{{- $root := index . 0 -}}
{{- $names := list -}}
{{- range $service := rest . -}}
{{- $base := printf "%s.%s" $service $root.Release.Namespace -}}
{{- $names = concat $names (list $service $base (printf "%s.svc" $base) (printf "%s.svc.cluster.local" $base)) -}}
{{- end -}}
{{- concat $names (list "localhost") $root.Values.tls.extraDnsNames | toJson -}}
{{- end -}}

{{/* All Services that the certificate is for, also those that are not enabled yet: a certificate outlives an upgrade. As JSON. */}}
{{- define "kubetuner.certificateNames" -}}
{{- $full := include "kubetuner.fullname" . -}}
{{- $services := list $full -}}
{{- range list "ingest" "embed" "train" "evaluate" -}}
{{- $services = append $services (printf "%s-%s" $full .) -}}
{{- end -}}
{{- include "kubetuner.dnsNames" (concat (list .) $services) -}}
{{- end -}}

{{/* Namespaces of runs that get roles and policies, as JSON; empty where all are watched. */}}
{{- define "kubetuner.policyNamespaces" -}}
{{- $more := ternary .Values.watchNamespaces .Values.networkPolicy.namespaces (gt (len .Values.watchNamespaces) 0) -}}
{{- concat (list .Release.Namespace) $more | uniq | toJson -}}
{{- end -}}
