package operate

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestACredentialHelperThatStays, such as one that caches, holds nothing up.
func TestACredentialHelperThatStays(t *testing.T) {
	asGit(t, "sleep 20 &\necho username=u; echo password=p")
	start := time.Now()
	if auth := credential(t.Context(), "https://git.example.com/acme/ops.git"); auth.Password != "p" || time.Since(start) > 10*time.Second {
		t.Errorf("%q after %s", auth.Password, time.Since(start))
	}
}

// asGit has a script take the place of git.
func asGit(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestACredentialHelperThatHangsHoldsNoRunThatIsToEnd: git is ended, but not what it has started.
func TestACredentialHelperThatHangsHoldsNoRunThatIsToEnd(t *testing.T) {
	asGit(t, "sleep 20")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if auth := credential(ctx, "https://git.example.com/acme/ops.git"); auth.Password != "" || time.Since(start) > 10*time.Second {
		t.Errorf("%q after %s", auth.Password, time.Since(start))
	}
}
