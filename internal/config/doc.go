// Package config holds the documents.
package config
