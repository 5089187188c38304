package archtest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	unlinked = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// anchors returns the names of the headings of a document, as GitHub makes them.
func anchors(text string) map[string]bool {
	out := make(map[string]bool)
	for _, m := range headings.FindAllStringSubmatch(text, -1) {
		out[strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return out
}

// deadLinks lists the links of a document that lead to no file, or to no heading of a document. load returns the text of a
// file of the module, empty for a directory; ok is false if there is none.
func deadLinks(name, text string, load func(name string) (text string, ok bool)) []string {
	var out []string
	for _, m := range links.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		to, anchor, _ := strings.Cut(m[1], "#")
		target := name
		if to != "" {
			target = path.Join(path.Dir(name), to)
		}
		target, ok := load(target)
		if !ok || anchor != "" && !anchors(target)[anchor] {
			out = append(out, name+": "+m[1])
		}
	}
	return out
}

func TestLinksLeadSomewhere(t *testing.T) {
	root := filepath.Join("..", "..")
	load := func(name string) (string, bool) {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.IsDir() {
			return "", err == nil
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		return string(text), err == nil
	}
	found := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "deploy/*.md", "examples/*.md"} {
		names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, full := range names {
			rel, err := filepath.Rel(root, full)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.ToSlash(rel)
			text, _ := load(name)
			found += len(links.FindAllString(text, -1))
			for _, dead := range deadLinks(name, text, load) {
				t.Error(dead)
			}
		}
	}
	if found < 100 {
		t.Fatalf("only %d links found: the rule was not checked", found)
	}
}

// TestDeadLinksAreFound: deadLinks finds links without a file or a heading.
func TestDeadLinksAreFound(t *testing.T) {
	files := map[string]string{"docs/a.md": "# One: two (three)\n\n## 4.1 Lanes\n", "docs": ""}
	load := func(name string) (string, bool) { text, ok := files[name]; return text, ok }
	for link, dead := range map[string]bool{
		"a.md": false, "a.md#one-two-three": false, "a.md#41-lanes": false, "../docs": false, "https://go.dev/x": false,
		"b.md": true, "a.md#one": true, "../a.md": true, "#four": true,
	} {
		if got := deadLinks("docs/a.md", "see [it]("+link+")", load); (len(got) > 0) != dead {
			t.Errorf("%s: found %q, dead: %v", link, got, dead)
		}
	}
}
