package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/config"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the documents, for editors",
		GroupID: "tools",
		RunE: func(*cobra.Command, []string) error {
			raw, err := config.Schema()
			if err != nil {
				return err
			}
			return a.rep.Verbatim(json.RawMessage(raw), string(raw))
		},
	}
}
