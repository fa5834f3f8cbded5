// Package content is the table of what the lab's registry serves: the images of everything that the tests deploy, each from a small
// pinned Go module or from Debian packages. The charts beside them are in test/lab/charts.
package content

import (
	"embed"
	"fmt"

	"github.com/rekindle-dev/rekindle/test/lab/image"
)

//go:embed modules
var modules embed.FS

// Module gives the txtar of a module of the table.
func Module(name string) ([]byte, error) {
	raw, err := modules.ReadFile("modules/" + name + ".txtar")
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", name, err)
	}
	return raw, nil
}

// Images gives the table.
func Images() []image.Spec {
	return nil
}
