package postgres

import "strings"

// words are the identifiers in a SQL text, in lower case, each with whether a parenthesis follows it
// anywhere. What stands in strings and comments counts, too: a function may build its SQL from them, and
// a word too many costs a look, never a wrong answer.
type words map[string]bool

func wordsOf(text string) words {
	w := make(words)
	for i := 0; i < len(text); {
		if !isWordStart(text[i]) {
			i++
			continue
		}
		from := i
		for i < len(text) && (isWordStart(text[i]) || text[i] >= '0' && text[i] <= '9' || text[i] == '$') {
			i++
		}
		rest := strings.TrimLeft(strings.TrimPrefix(text[i:], `"`), " \t\r\n")
		word := strings.ToLower(text[from:i])
		w[word] = w[word] || strings.HasPrefix(rest, "(")
	}
	return w
}

func isWordStart(c byte) bool {
	return c == '_' || c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isWord reports whether the name is found as one word.
func isWord(name string) bool {
	w := wordsOf(name)
	_, ok := w[strings.ToLower(name)]
	return ok && len(w) == 1
}

// hasAny reports whether one of the list is among the words.
func (w words) hasAny(list ...string) bool {
	for _, word := range list {
		if _, ok := w[word]; ok {
			return true
		}
	}
	return false
}
