package digest

import (
	"crypto/sha256"
	"strings"
	"testing"
)

// TestDefinition: a digest is SHA-256 over the tag's length, the tag, and the parts.
func TestDefinition(t *testing.T) {
	if got, want := Of("tag", []byte("ab"), []byte("c")), Digest(sha256.Sum256([]byte("\x03tagabc"))); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestTagsSeparate: the same content has different digests under different tags, also if one tag is a prefix of
// another.
func TestTagsSeparate(t *testing.T) {
	seen := make(map[Digest]string)
	for _, c := range []struct{ tag, content string }{
		{"bdt/a/1", "x"}, {"bdt/a/2", "x"}, {"bdt/b/1", "x"}, {"bdt/a/1", "y"}, {"bdt/a/", "1x"}, {"bdt/a/1x", ""}, {"", "bdt/a/1x"},
	} {
		d := Of(c.tag, []byte(c.content))
		if before, dup := seen[d]; dup {
			t.Errorf("%q under %q has the digest of %s", c.content, c.tag, before)
		}
		seen[d] = c.content + " under " + c.tag
	}
}

func TestText(t *testing.T) {
	d := Of("tag")
	text, err := d.MarshalText()
	var back Digest
	if err != nil || back.UnmarshalText(text) != nil || back != d || d.IsZero() || !(Digest{}).IsZero() {
		t.Errorf("%s is decoded as %s", d, back)
	}
	if d.Short() != d.String()[:8] || len(d.Short()) != 8 {
		t.Errorf("Short of %s is %s", d, d.Short())
	}
	for _, wrong := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("x", 64)} {
		if _, err := Parse(wrong); err == nil {
			t.Errorf("%q is parsed as a digest", wrong)
		}
		kept := d
		if kept.UnmarshalText([]byte(wrong)) == nil || kept != d {
			t.Errorf("UnmarshalText of %q changed the digest or returned no error", wrong)
		}
	}
}
