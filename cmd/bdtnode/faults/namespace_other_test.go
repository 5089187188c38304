//go:build !linux

package faults

import (
	"errors"
	"testing"
)

func become(launch) error { return errors.New("network namespaces need Linux") }

func inNamespaces(t *testing.T, _ func(*testing.T, options, []string, func(), func())) {
	t.Fatal("network namespaces need Linux")
}
