// Package terminal makes text that others wrote, to the registry or in a label,
// fit to be shown: it can neither steer the terminal nor look like what it isn't.
package terminal

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// replacement stands for what is not shown.
const replacement = '?'

// Safe reports whether a character shows as what it is: it is none of the
// controls (C0, DEL and C1), which terminals obey, and of those that reorder
// (bidirectional), break or join lines and words without being seen.
func Safe(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
		r != brailleBlank && r != utf8.RuneError
}

// brailleBlank is a symbol that shows as a space.
const brailleBlank = '\u2800'

// Text returns s with a question mark for each character that isn't Safe.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if !Safe(r) {
			return replacement
		}
		return r
	}, s)
}

// Line returns s as Text in one line, with one space wherever there was any.
func Line(s string) string { return Text(strings.Join(strings.Fields(s), " ")) }

// Lines returns s as Text, but for the ends of its lines and its tabs.
func Lines(s string) string {
	return strings.Map(func(r rune) rune {
		if !Safe(r) && r != '\n' && r != '\t' {
			return replacement
		}
		return r
	}, s)
}

// Strip returns a line without what isn't Safe, but for its tabs: what programs
// print has colors in it.
func Strip(s string) string {
	return strings.Map(func(r rune) rune {
		if !Safe(r) && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, string(replacement)))
}

// JSON returns a JSON text of the same value in which every character that
// isn't Safe is escaped. Such characters are only ever in strings, but for the
// white space between the parts, which stays.
func JSON(text []byte) []byte {
	if !bytes.ContainsFunc(text, isEscaped) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !isEscaped(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

func isEscaped(r rune) bool { return !Safe(r) && r != '\n' && r != '\t' && r != '\r' }
