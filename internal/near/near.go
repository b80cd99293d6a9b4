// Package near says what there is in place of what isn't, and which of it somebody
// meant who mistyped a name.
package near

import (
	"fmt"
	"slices"
	"strings"
)

// Instead ends the sentence that there is nothing of a name: with those that there
// are, and the one that was meant, such as "; there are blog and shop; did you mean
// shop?".
func Instead(word string, known []string) string {
	const most = 5
	shown := known
	if n := len(known); n > most {
		shown = append(slices.Clone(known[:most]), fmt.Sprintf("%d more", n-most))
	}
	switch last := len(shown) - 1; last {
	case -1:
		return ", nor any other"
	case 0:
		return "; there is " + shown[0] + Hint(word, known)
	default:
		return "; there are " + strings.Join(shown[:last], ", ") + " and " + shown[last] + Hint(word, known)
	}
}

// Name returns the one of the known names that a word was most likely meant to
// be, "" if none is near enough to be told from a guess.
func Name(word string, known []string) string {
	best, least := "", 1+min(2, len(word)/3)
	folded := fold(word)
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(folded, fold(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// Hint is [Name] as the end of a sentence, such as "; did you mean web?", or
// nothing.
func Hint(word string, known []string) string {
	if n := Name(word, known); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// fold leaves out what is easily written otherwise.
func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance is the number of letters to insert, to leave out, to change or to
// swap with the next one that makes b of a (optimal string alignment).
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows = [3][]int{last, row, before}
	}
	return rows[1][len(b)]
}
