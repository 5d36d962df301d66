{{- define "muster.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "muster.labels" -}}
app.kubernetes.io/name: muster-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "muster.selector" -}}
app.kubernetes.io/name: muster-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "muster.serviceAccount" -}}
{{- default (include "muster.name" .) .Values.serviceAccount.name -}}
{{- end }}

{{- /* What the operator may do where it serves pools. Each line is proved by the end-to-end test, which runs under it. */ -}}
{{- define "muster.rules" -}}
- apiGroups: [muster.dev]
  resources: [workerpools]
  verbs: [get, list, watch]
- apiGroups: [muster.dev]
  resources: [workerpools/status]
  verbs: [patch]
- apiGroups: [muster.dev]
  # Lets owner references to a pool block its deletion, where OwnerReferencesPermissionEnforcement is on.
  resources: [workerpools/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  # By name only, for the Secrets that a pool refers to: no list, no watch.
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
