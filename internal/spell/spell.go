// Package spell finds the known word that a misspelt one was probably meant to be.
package spell

import "strings"

// maxDistance bounds how many single-character changes make one word of another; words farther apart are unrelated.
const maxDistance = 2

// Nearest is the known word that is nearest to a typed one, or empty if none is near. A word of which the typed one is
// a beginning or an end is near, whatever its length.
func Nearest(typed string, known []string) string {
	best, distance := "", maxDistance+1
	for _, word := range known {
		d := editDistance(typed, word)
		if typed != "" && (strings.HasPrefix(word, typed) || strings.HasSuffix(word, typed)) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = word, d
		}
	}
	return best
}

// editDistance is how many single-character changes lie between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
