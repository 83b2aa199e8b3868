{{- define "cse-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of all objects: the release's name, plus the chart's name if that is not part of it. */}}
{{- define "cse-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 57 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "cse-operator.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 57 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A value as a person wrote it: Helm reads 1000000 from a file as 1e+06. */}}
{{- define "cse-operator.text" -}}
{{- if kindIs "slice" . -}}
{{- $parts := list -}}
{{- range . -}}{{- $parts = append $parts (include "cse-operator.text" .) -}}{{- end -}}
{{- join "," $parts -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* Merges labels or annotations. The first map with a key wins, and all values become texts. */}}
{{- define "cse-operator.texts" -}}
{{- $all := dict -}}
{{- range . -}}
{{- range $key, $value := . -}}
{{- if not (hasKey $all $key) -}}{{- $_ := set $all $key (include "cse-operator.text" $value) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $all -}}{{- toYaml $all -}}{{- end -}}
{{- end -}}

{{/* A map without its null values: Helm removes such a key only if the chart has a default for it. */}}
{{- define "cse-operator.given" -}}
{{- $given := dict -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $given $key $value -}}{{- end -}}
{{- end -}}
{{- if $given -}}{{- toYaml $given -}}{{- end -}}
{{- end -}}

{{- define "cse-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cse-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "cse-operator.ownLabels" -}}
{{ include "cse-operator.selectorLabels" . }}
app.kubernetes.io/part-of: cse-operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{/* Labels and annotations of an object. The argument is a list: the root, and further labels. */}}
{{- define "cse-operator.metadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "cse-operator.texts" (list (include "cse-operator.ownLabels" $root | fromYaml) (index . 1) $root.Values.commonLabels) | nindent 2 }}
{{- with include "cse-operator.texts" (list (index . 2) $root.Values.commonAnnotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "cse-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "cse-operator.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false: no other account of the namespace may get the operator's rights" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "cse-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "cse-operator.replicas" -}}
{{- $usual := ternary 2 1 .Values.highAvailability.enabled -}}
{{- $replicas := ternary $usual (int .Values.replicas) (kindIs "invalid" .Values.replicas) -}}
{{- if and (gt $replicas 1) (not .Values.highAvailability.enabled) -}}
{{- fail "replicas: more than one needs highAvailability.enabled, so that one of them leads" -}}
{{- end -}}
{{- $replicas -}}
{{- end -}}

{{/* All variables, each name once: `extraEnv` wins over the chart, and its last entry over its first. */}}
{{- define "cse-operator.env" -}}
{{- $own := list (dict "name" "CSE_OPERATOR_LISTEN" "value" ":8080") -}}
{{- $own = append $own (dict "name" "CSE_OPERATOR_PROBE_LISTEN" "value" ":8081") -}}
{{- if .Values.secureMetrics.enabled -}}
{{- $own = append $own (dict "name" "CSE_OPERATOR_METRICS_TLS" "value" "/etc/cse-operator/metrics-tls") -}}
{{- end -}}
{{- $home := dict "fieldRef" (dict "fieldPath" "metadata.namespace") -}}
{{- $own = append $own (dict "name" "POD_NAMESPACE" "valueFrom" $home) -}}
{{- with .Values.namespaces -}}
{{- $own = append $own (dict "name" "CSE_OPERATOR_NAMESPACES" "value" (join "," .)) -}}
{{- end -}}
{{- if .Values.highAvailability.enabled -}}
{{- $own = append $own (dict "name" "CSE_OPERATOR_LEADER_ELECT" "value" "true") -}}
{{- $own = append $own (dict "name" "CSE_OPERATOR_LEASE_NAME" "value" (include "cse-operator.fullname" .)) -}}
{{- end -}}
{{- if .Values.caBundle.configMap -}}
{{- $file := printf "/etc/cse-operator/ca/%s" .Values.caBundle.key -}}
{{- $own = append $own (dict "name" "CSE_OPERATOR_CA_BUNDLE" "value" $file) -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $variable := printf "CSE_OPERATOR_%s" ($name | snakecase | upper) -}}
{{- $own = append $own (dict "name" $variable "value" (include "cse-operator.text" $value)) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- $entry := deepCopy . -}}
{{- if hasKey . "value" -}}{{- $_ := set $entry "value" (include "cse-operator.text" .value) -}}{{- end -}}
{{- $own = append $own $entry -}}
{{- end -}}
{{- $last := dict -}}
{{- range $at, $entry := $own -}}{{- $_ := set $last $entry.name $at -}}{{- end -}}
{{- $once := list -}}
{{- range $at, $entry := $own -}}
{{- if eq $at (get $last $entry.name) -}}{{- $once = append $once $entry -}}{{- end -}}
{{- end -}}
{{- toYaml $once -}}
{{- end -}}

{{- define "cse-operator.skips" -}}
checkov.io/skip1: "CKV_K8S_11=a CPU limit would only make a burst slower; a request is stated"
checkov.io/skip2: "CKV_K8S_15=the tag of a release never moves, so nothing has to be pulled again"
checkov.io/skip3: "CKV_K8S_38=an operator needs its token: it calls the API server"
checkov.io/skip4: "CKV_K8S_40=the user is the image's, 65532, or the one that OpenShift chooses"
checkov.io/skip5: "CKV_K8S_43=a release names the image by its digest, a build of your own by its tag"
{{- end -}}

{{/* The rules of the operator, in a ClusterRole or in Roles. */}}
{{- define "cse-operator.rules" -}}
# The watch reads everything; `get` is for the last read before a call.
- apiGroups: [cse-operator.io]
  resources: [microserviceengines]
  verbs: [get, list, watch]
# The only write to a resource. The operator writes no spec, labels, annotations or finalizers.
- apiGroups: [cse-operator.io]
  resources: [microserviceengines/status]
  verbs: [patch]
# The operator gets a Secret by name, in the namespace of its resource. It never lists or watches.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# Policies say when an engine may start. The operator writes only their status.
- apiGroups: [cse-operator.io]
  resources: [upgradepolicies]
  verbs: [list, watch]
- apiGroups: [cse-operator.io]
  resources: [upgradepolicies/status]
  verbs: [patch]
{{- if not .Values.namespaces }}
- apiGroups: [cse-operator.io]
  resources: [clusterupgradepolicies]
  verbs: [list, watch]
- apiGroups: [cse-operator.io]
  resources: [clusterupgradepolicies/status]
  verbs: [patch]
# The namespaceSelector of a ClusterUpgradePolicy needs the labels of namespaces.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list]
{{- end }}
{{- if .Values.keyless.enabled }}
# Tokens of the ServiceAccounts that resources name; only of the given names, if there are any.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  {{- with .Values.keyless.serviceAccounts }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [create]
{{- end }}
{{- end -}}

{{- define "cse-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "cse-operator.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/*
Whether this release installs a CRD. The first release in a cluster does, and keeps updating it. If the
CRD belongs to somebody else (another release, a kustomization), this release does not touch it. So a
second release can be installed, and no release takes the CRD from another.
*/}}
{{- define "cse-operator.bringsCrd" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.crds.install -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" (index . 1) -}}
{{- $owner := ($found.metadata | default dict).annotations | default dict -}}
{{- $name := get $owner "meta.helm.sh/release-name" -}}
{{- $namespace := get $owner "meta.helm.sh/release-namespace" -}}
{{- or (not $found) (and (eq $name $root.Release.Name) (eq $namespace $root.Release.Namespace)) -}}
{{- end -}}
{{- end -}}

{{/* Without the labels for name and instance, because people prune by them and all share the CRD. */}}
{{- define "cse-operator.crdLabels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}
