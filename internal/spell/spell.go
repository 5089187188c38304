// Package spell finds the known word that is nearest to a misspelt one.
package spell

import "strings"

// maxDistance is the greatest edit distance of two words that count as near.
const maxDistance = 2

// Nearest returns the known word that is nearest to the typed one, or "" if none is near. A known word that begins or
// ends with the typed one is near at any length.
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

// editDistance is the Levenshtein distance of a and b in bytes: the least number of insertions, deletions and
// substitutions that turn a into b.
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
