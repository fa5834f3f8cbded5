package content

import (
	_ "embed"

	"github.com/rekindle-dev/rekindle/test/lab/image"
)

//go:embed postgresql.sh
var postgresqlEntrypoint string

// postgresql is Debian's PostgreSQL. Its user has the number that the official image gives it,
// and is the only one besides root: PostgreSQL refuses a user without a name.
func postgresql() image.Spec {
	return image.Spec{
		Ref: "ghcr.io/rekindle-dev/shop/postgresql:15", Debian: []string{"postgresql-15"},
		Files: map[string]string{
			"/etc/passwd":                          "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/sh\n",
			"/etc/group":                           "root:x:0:\npostgres:x:999:\n",
			"/usr/local/bin/postgresql-entrypoint": postgresqlEntrypoint,
		},
		Entrypoint: []string{"postgresql-entrypoint"}, Env: []string{"PGDATA=/var/lib/postgresql/data/15"}, User: "999:999",
		StopSignal: "SIGINT", // as the official image has it: clients are sent away, not waited for
	}
}
