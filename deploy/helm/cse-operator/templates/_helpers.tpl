{{- define "cse-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of all objects: the release's, with the chart's where that is not in it. */}}
{{- define "cse-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 57 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "cse-operator.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 57 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cse-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cse-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cse-operator.labels" -}}
{{ include "cse-operator.selectorLabels" . }}
app.kubernetes.io/part-of: cse-operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cse-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "cse-operator.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "cse-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What the operator needs wherever it serves, in a ClusterRole or in Roles. */}}
{{- define "cse-operator.rules" -}}
# Everything is read through the watch; `get` is for the last look before a call.
- apiGroups: [cse-operator.io]
  resources: [microserviceengines]
  verbs: [get, list, watch]
# The only write to a resource. There is none to its spec, labels, annotations, finalizers.
- apiGroups: [cse-operator.io]
  resources: [microserviceengines/status]
  verbs: [patch]
# By name, in the namespace of the resource that names it. Never a list, never a watch.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "cse-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "cse-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
