// Package docs holds those pages of the documentation that programs show, too.
package docs

import _ "embed"

// Manifest is the reference of the manifest.
//
//go:embed manifest.md
var Manifest string
