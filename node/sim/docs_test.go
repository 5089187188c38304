package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNumbersInDocs: docs/simulator.md has the numbers of mutants, stories, disturbances and behaviours.
func TestNumbersInDocs(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(raw)), " ")
	behaviours := 0
	for i := range catalogue {
		if catalogue[i].behaviour != nil {
			behaviours++
		}
	}
	for _, want := range []string{
		fmt.Sprintf("has %d bugs of consensus, %d of settlement, %d of admission, %d of vouching, %d of logs and %d for twins.",
			len(storyMutants()), len(networkMutants()), len(admissionMutants()), len(vouchMutants()), len(logMutants()), len(twinMutants())),
		fmt.Sprintf("There are %d stories of one shard and %d of several.", len(stories), len(networkStories)),
		fmt.Sprintf("lists all %d with one line each: %d disturbances and %d Byzantine behaviours.", len(catalogue), len(catalogue)-behaviours, behaviours),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/simulator.md does not have: %s", want)
		}
	}
}
