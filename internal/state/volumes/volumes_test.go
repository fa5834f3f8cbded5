package volumes_test

import (
	"testing"

	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }
