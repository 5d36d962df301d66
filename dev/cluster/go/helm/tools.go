//go:build tools

// Package tools names the command that dev/cluster/binaries.ts builds, so that `go mod tidy` keeps
// exactly the modules it needs and go.sum pins each of them. Nothing compiles this file.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
