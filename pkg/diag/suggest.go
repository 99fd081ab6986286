package diag

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Suggest returns `did you mean "x"?` for the candidate nearest to name, or ""
// when none is near: one that differs in case alone, or in about a letter of three.
// Of names with fewer than four letters, any other letter makes another word:
// they may be swapped.
func Suggest(name string, candidates []string) string {
	name = strings.ToLower(name)
	letters := utf8.RuneCountInString(name)
	best, bestDistance := "", max((letters+1)/3, 1)+1
	for _, c := range candidates {
		if letters < 4 && lettersOf(name) != lettersOf(c) {
			continue
		}
		if n := utf8.RuneCountInString(c); c == "" || max(n-letters, letters-n) >= bestDistance {
			continue
		}
		if d := distance(name, strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// lettersOf returns the letters of a word in lower case, sorted.
func lettersOf(word string) string {
	letters := []rune(strings.ToLower(word))
	slices.Sort(letters)
	return string(letters)
}

// distance is the Damerau-Levenshtein distance (optimal string alignment), so
// that swapped letters count once.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
