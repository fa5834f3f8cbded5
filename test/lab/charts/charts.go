// Package charts holds the Helm charts of the lab's components.
package charts

import (
	"embed"
	"io/fs"
)

//go:embed */Chart.yaml */values.yaml */crds all:*/templates
var files embed.FS

// Files is a folder with each chart in a folder of its name.
func Files() fs.FS { return files }
